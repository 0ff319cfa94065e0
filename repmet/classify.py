"""`repmet classify`: the command of `classification.predict`, also by an exported classifier, without torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from repmet.classification import predict
from repmet.classification.exported.folder import is_exported
from repmet.classification.learning_options import in_torch
from repmet.errors import UserError, exit_code
from repmet.experiments.running.allocator import keep_freed_memory


def opened(args: argparse.Namespace, modes: int | str | None) -> Any:
    """The classifier that the options ask for: of a folder that `repmet export --classifier` wrote, or one in torch."""
    if args.encoder is None or not is_exported(args.encoder):
        return in_torch(args, modes)
    from repmet.runtime import FewShotClassifier

    classifier = FewShotClassifier(args.encoder, modes=modes, batch_size=args.batch_size)
    if args.size not in (None, *classifier.encoder.size):
        side = classifier.encoder.size[0]
        raise UserError(f"{args.encoder}: exported for {side} pixels; --size {args.size} needs the encoder in torch")
    return classifier


def main(argv: Sequence[str] | None = None, prog: str = "repmet classify") -> int:
    keep_freed_memory()
    args = predict.command_line(prog).parse_args(argv)
    return exit_code(lambda: predict.run(args, opened))


if __name__ == "__main__":
    sys.exit(main())
