"""The options that commands about a support set have in common."""

import argparse


def support_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser that takes a checkpoint, by default the weights that ship, and the folder that shows the classes."""
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="default: the weights that ship")
    parser.add_argument("--support", required=True, metavar="DIR", help="annotated images, or crops in class folders")
    return parser
