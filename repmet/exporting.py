"""Write a detector, or a classifier's encoder, as a graph that ONNX Runtime or OpenVINO runs, without torch.

    repmet export --out my_detector
    repmet export work_dirs/photos --format openvino --out my_detector
    repmet export --int8 --calibration my_photos --out my_detector
    repmet export --classifier --out my_classifier
    repmet export work_dirs/image_folder --classifier --out my_classifier

The graph of a detector takes an image and gives boxes, objectness and embeddings; that of a classifier takes images and
gives embeddings. Classes are no part of either: what is exported learns, adds and removes them as the other one does
(`repmet.runtime.FewShotDetector("my_detector")`, `repmet.runtime.FewShotClassifier("my_classifier")`), and reads the files
that `repmet detect --save` and `repmet classify --save` write.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from repmet.errors import UserError, exit_code
from repmet.graph_folder import GRAPHS, weights_file

PROG = "repmet export"


def run(args: argparse.Namespace) -> None:
    if args.classifier:
        graph, precision, opset = _classifier(args)
    else:
        graph, precision, opset = _detector(args)
    size = weights_file(Path(args.out) / graph).stat().st_size / 1e6
    print(f"written: {Path(args.out) / graph}, {size:.1f} MB, {precision}, operators of ONNX {opset}")


def _detector(args: argparse.Namespace) -> tuple[str, str, int]:
    if args.int8 != (args.calibration is not None):
        raise UserError("--int8 and --calibration DIR go together: a folder of images like those that it will see")
    if args.size is not None:
        raise UserError("--size is of a classifier's images: it goes with --classifier")
    from repmet.detection.checkpoint import open_detector
    from repmet.detection.export.write import export_detector

    facts = export_detector(open_detector(args.source), args.out, args.format, args.calibration)
    return facts.graph, facts.precision, facts.opset


def _classifier(args: argparse.Namespace) -> tuple[str, str, int]:
    if args.int8 or args.calibration is not None:
        raise UserError("--int8 is of detectors: a classifier's encoder stays in float32")
    from repmet.classification.export.write import export_classifier
    from repmet.classification.image_encoder import open_encoder

    facts = export_classifier(open_encoder(args.source, size=args.size), args.out, args.format)
    return facts.graph, "float32", facts.opset


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    description = __doc__.replace(PROG, prog)
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shipped = "a file, or a run folder for its last one (default: the weights that ship)"
    encoder = "with --classifier: what `repmet classify` takes (default: a frozen EfficientNet-Lite0)"
    parser.add_argument("source", nargs="?", metavar="CHECKPOINT", help=f"{shipped}; {encoder}")
    parser.add_argument("--classifier", action="store_true", help="an encoder of images, in the place of a detector")
    parser.add_argument("--format", choices=tuple(GRAPHS), default="onnx", help="onnx, which both runtimes read (default)")
    parser.add_argument("--int8", action="store_true", help="weights and maps in 8 bits: a third of the size")
    parser.add_argument("--calibration", metavar="DIR", help="with --int8: images whose maps give the ranges, unlabelled")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="with --classifier: side that images are brought to")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
