"""`repmet detect`: the command of `detection.detect`, by the exported detector where one serves."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from repmet.detection import detect
from repmet.detection.exported.cached import cached_folder, is_exported
from repmet.detection.support_parser import keeps_classes
from repmet.errors import UserError, exit_code, one_line
from repmet.graph_session import RUNTIMES

CHOICES = ("auto", "torch", *RUNTIMES)


def opened(args: argparse.Namespace) -> Any:
    """The detector that the options ask for: of a checkpoint, of a folder that `repmet export` wrote, or the shipped one.

    By `auto` the shipped one runs without torch where a runtime is installed and there is no GPU. For that it is exported
    once, into the user's cache, and compared with torch. All else runs in torch unless a runtime is named.
    """
    if args.checkpoint is not None and is_exported(args.checkpoint):
        if args.runtime == "torch" or args.finetune:
            what = "--finetune" if args.finetune else "--runtime torch"
            raise UserError(f"{args.checkpoint}: an exported detector; {what} needs the checkpoint that it was made of")
        return _exported(Path(args.checkpoint), args.runtime, args)
    if args.runtime in RUNTIMES and (args.finetune or args.checkpoint is not None):
        what = "fine-tuning" if args.finetune else f"{args.checkpoint} as it is"
        raise UserError(
            f"{args.runtime} does not run {what}: export it by `repmet export` and name that folder, or use torch"
        )
    runtime = args.runtime if args.runtime != "auto" else _best(args)
    if runtime == "torch":
        return detect.in_torch(args)
    folder = cached_folder()
    if not is_exported(folder):
        from repmet.detection.export.into_cache import export_into

        print(f"exporting the detector for {runtime}, once, into {folder}", file=sys.stderr)
        try:
            export_into(folder, runtime)
        except (UserError, OSError) as error:
            if args.runtime != "auto":
                raise
            print(f"torch is used: {one_line(error)}", file=sys.stderr)
            return detect.in_torch(args)
    return _exported(folder, runtime, args)


def _best(args: argparse.Namespace) -> str:
    """What `auto` comes to."""
    there = [name for name in RUNTIMES if importlib.util.find_spec(name)]
    gpu = Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None
    if args.finetune or args.checkpoint is not None or gpu or not there:
        return "torch"
    return there[0] if is_exported(cached_folder()) or importlib.util.find_spec("onnx") else "torch"


def _exported(folder: Path, runtime: str, args: argparse.Namespace) -> Any:
    if args.mark or (args.support and not keeps_classes(Path(args.support), args.marks)):
        # What learns imports scipy: a second, which passes while the graph is opened and looks at the supports.
        Thread(target=importlib.import_module, args=("repmet.runtime.learning",), daemon=True).start()
    from repmet.runtime import FewShotDetector

    return FewShotDetector(folder, runtime=runtime, tile=args.tile, marks=args.marks)


def main(argv: Sequence[str] | None = None, prog: str = "repmet detect") -> int:
    parser = detect.command_line(prog)
    parser.add_argument(
        "--runtime", choices=CHOICES, default="auto", help="what computes (default: auto, without torch where that serves)"
    )
    args = parser.parse_args(argv)
    return exit_code(lambda: detect.run(args, opened))


if __name__ == "__main__":
    sys.exit(main())
