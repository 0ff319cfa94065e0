"""Write a detector as a graph that ONNX Runtime or OpenVINO runs, without torch.

    repmet export --out my_detector
    repmet export work_dirs/photos --format openvino --out my_detector
    repmet export --int8 --calibration my_photos --out my_detector

The graph takes an image and gives boxes, objectness and embeddings. Classes are no part of it: the exported detector learns,
adds and removes them as the other one does (`repmet.runtime.FewShotDetector("my_detector")`), and reads the files that
`repmet detect --save` writes.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from repmet.detection.checkpoint import open_detector
from repmet.detection.export.write import export_detector
from repmet.detection.exported.folder import GRAPHS, weights_file
from repmet.errors import UserError, exit_code

PROG = "repmet export"


def run(args: argparse.Namespace) -> None:
    if args.int8 != (args.calibration is not None):
        raise UserError("--int8 and --calibration DIR go together: a folder of images like those that it will see")
    facts = export_detector(open_detector(args.checkpoint), args.out, args.format, args.calibration)
    size = weights_file(Path(args.out) / facts.graph).stat().st_size / 1e6
    print(f"written: {Path(args.out) / facts.graph}, {size:.1f} MB, {facts.precision}, operators of ONNX {facts.opset}")


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    description = __doc__.replace(PROG, prog)
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shipped = "a file, or a run folder for its last one (default: the weights that ship)"
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help=shipped)
    parser.add_argument("--format", choices=tuple(GRAPHS), default="onnx", help="onnx, which both runtimes read (default)")
    parser.add_argument("--int8", action="store_true", help="weights and maps in 8 bits: a third of the size")
    parser.add_argument("--calibration", metavar="DIR", help="with --int8: images whose maps give the ranges, unlabelled")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
