"""Options that the protocol asked for does not read: refused, for they would change nothing, in silence."""

import argparse
from collections.abc import Iterator

from repmet.errors import UserError
from repmet.experiments.config.options import parse_options

FLAGS = {name: f"episodes.{name}" for name in ("way", "shot", "query", "seed", "episodes")}
_NOT_OF_LISTS = (
    *("episodes.way", "episodes.query", "episodes.episodes", "episodes.methods", "finetune", "data.base_test"),
    # of methods that lists are not scored by
    *("episodes.negative_iou", "episodes.negative_weight", "episodes.calibration", "episodes.cosine_scale"),
    "episodes.classifier_decay",
)


def episode_file(args: argparse.Namespace) -> str | None:
    """The file that `--episodes FILE` names; None where it is a number, or is not given."""
    return None if args.episodes is None or args.episodes.isdigit() else args.episodes


def given_options(args: argparse.Namespace) -> dict[str, str]:
    """By what was typed, the key of the experiment that it sets: flags of episodes, and --cfg-options."""
    flags = {f"--{flag}": key for flag, key in FLAGS.items() if getattr(args, flag) is not None}
    if episode_file(args):
        del flags["--episodes"]
    if args.finetune:
        flags["--finetune"] = "finetune"
    return flags | {f"--cfg-options {key}": key for key in parse_options(args.cfg_options)}


def refuse_unread(args: argparse.Namespace) -> None:
    """Raises ValueError for options of `detection.evaluate` that do not go together; it names them all."""
    if (args.seeds or args.lists) and args.episodes:
        raise UserError("--seeds and --lists take the place of --episodes: give one of them")
    if args.seeds and args.lists:
        raise UserError("--seeds draws lists and --lists reads published ones: give one of them")
    if args.seeds < 0:
        raise UserError(f"--seeds {args.seeds}: at least one list is drawn")
    options = given_options(args)
    for reason, unread in _unread(args):
        names = [name for name, key in options.items() if any(f"{key}.".startswith(f"{other}.") for other in unread)]
        if names:
            raise UserError(f"{', '.join(names)}: {reason}; leave them out")


def episode_options(args: argparse.Namespace) -> list[str]:
    """What was typed that only episodes of novel classes read."""
    names = [name for name, key in given_options(args).items() if key.partition(".")[0] in ("episodes", "finetune")]
    return names + (["--episodes"] if episode_file(args) else [])


def _unread(args: argparse.Namespace) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Why, and which keys are not read."""
    if args.seeds or args.lists:
        flag = "--lists" if args.lists else "--seeds"
        seed = ("episodes.seed",) if args.lists else ()
        yield f"{flag} does not use them (K-shot lists: no episodes, repmet alone, no fine-tuning)", (*_NOT_OF_LISTS, *seed)
    if file := episode_file(args):
        yield f"the episode file {file} fixes these", tuple(FLAGS.values())
    if not args.finetune:
        yield "nothing is fine-tuned without --finetune", ("finetune",)
