"""The command `repmet`: one word for each thing to do, with the flags of the module that does it."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from repmet.errors import INTERRUPTED, UserError, did_you_mean, one_line
from repmet.installation import checkout, version

# What each does, and the module whose `main(argv, prog)` it is; of {tree} the experiment decides.
COMMANDS = {
    "detect": (
        "find objects in images: of classes that you show it, or of those that it was trained on",
        "detect",
    ),
    "label": ("label images by a few marks: a data set that an ordinary detector trains on", "label"),
    "check": ("look at the supports themselves: what is odd, doubled, or out of reach", "detection.check"),
    "estimate": ("say what to expect on new images, and which of them to mark next", "detection.estimate"),
    "tune": ("spend minutes on the marks: settings and boxes chosen by leaving images out", "detection.tune"),
    "classify": ("say which of the classes that you show it images belong to", "classify"),
    "explain": ("say what a set of class folders confuses, and which images may be mislabelled", "classification.explain"),
    "embed": ("embed images, a vector each, into a file", "classification.embed"),
    "similar": ("find the images most like yours among embedded ones", "classification.similar"),
    "page": ("mark one thing on a page in the browser, see all others", "page.command"),
    "serve": ("stand behind Label Studio: pre-annotate, and learn from what is drawn there", "page.serve"),
    "train": ("train a detector or a classifier from a YAML experiment", "{tree}.train"),
    "evaluate": ("measure a checkpoint: episodes of unseen classes, whole test sets", "{tree}.evaluate"),
    "retrieve": ("measure an embedding by retrieval", "classification.retrieve"),
    "export": ("write a detector or classifier for ONNX Runtime or OpenVINO, to run without torch", "exporting"),
    "doctor": ("say what is installed, what works, and how to repair what does not", "experiments.doctor"),
    "results": ("write the tables of the pages from models/results (in a checkout)", "benchmarks.tables.__main__"),
}
USAGE = "usage: repmet [--version] [--help] COMMAND ..."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line, the process's own if None, and returns the exit code: 0; 1 where something that was looked at
    is amiss; 2 for what cannot be done as it was asked."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        print(_help(), file=sys.stderr)
        return 2
    name, rest = words[0], words[1:]
    if "" in rest:
        print(f"repmet {name}: an argument is empty; is a variable of the shell not set?", file=sys.stderr)
        return 2
    if name in ("-h", "--help", "help"):
        print(_help())
        return 0
    if name in ("-V", "--version", "version"):
        print(f"repmet {version()}")
        return 0
    if name not in COMMANDS:
        print(f"repmet: no command {name!r}; {did_you_mean(name, COMMANDS)}", file=sys.stderr)
        return 2
    if name == "results" and checkout() is None:
        print("repmet results: writes the pages of a checkout, and this package is installed without one", file=sys.stderr)
        return 2
    try:
        module = COMMANDS[name][1]
        if "{tree}" in module:
            tree = _tree(name, rest)
            if tree is None:
                return 0 if {"-h", "--help"} & set(rest) else 2
            module = module.format(tree=tree)
        return _main_of(module)(rest, f"repmet {name}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mmcv", "mmdet"):
            raise
        line = "error: detection needs mmdet and mmcv, which are not installed: pip install 'repmet[detection]'"
        print(line, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED


def _tree(command: str, words: Sequence[str]) -> str | None:
    """The tree of the experiment that is named; None after saying what is missing."""
    from repmet.experiments.config.suites import SUFFIXES, split_address

    paths = [word for word in words if split_address(word)[0].suffix in SUFFIXES]
    if not paths:
        usage = f"usage: repmet {command} EXPERIMENT.yaml ..."
        if {"-h", "--help"} & set(words):
            doing = COMMANDS[command][0]
            print(f"{usage}\n\n{doing[0].upper()}{doing[1:]}. The options are those of the experiment's tree:\n")
            print(f"    repmet {command} EXPERIMENT.yaml --help")
        else:
            print(f"{usage}\nrepmet {command}: name an experiment, a YAML file", file=sys.stderr)
        return None
    from repmet.experiments.config.loading import tree_of

    try:
        return tree_of(paths[0])
    except (UserError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def _main_of(module: str) -> Callable[[Sequence[str], str], int]:
    return importlib.import_module(f"repmet.{module}").main


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"    {name:<{width}}  {said}" for name, (said, _) in COMMANDS.items()]
    return "\n".join(
        [
            USAGE,
            "",
            "Few-shot detection and classification by learned representatives.",
            "",
            *lines,
            "",
            "`repmet COMMAND --help` lists the options of a command.",
        ]
    )


def run() -> NoReturn:
    """The console script."""
    code: int | str | None
    try:
        try:
            code = main()
        except SystemExit as ended:  # argparse's help and errors
            code = ended.code
        sys.stdout.flush()
    except BrokenPipeError:  # `repmet ... | head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:  # the output goes into a file on a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"error: standard output: {error.strerror}", file=sys.stderr)
        code = 2
    sys.exit(code)
