"""Errors of what a user gave: the exception, the name that was meant, and how a command ends on one."""

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from difflib import get_close_matches

from repmet.wording import on_a_line, shortened


class UserError(ValueError):
    """What a user gave (a file, a key, an option, a shape) cannot be used; the message is one line that names it.

    Commands print it without a traceback. A ValueError that is none of ours is a defect, and shows where it came from.
    """


class MissingPackage(UserError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


def nearest(wrong: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name most like a wrong one, without regard to case; None if none is.

    Args:
        cutoff: the least likeness, in [0, 1] (`difflib.SequenceMatcher.ratio`).
    """
    by_lower = {name.lower(): name for name in sorted(known)}
    near = get_close_matches(wrong.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[near[0]] if near else None


def did_you_mean(wrong: str, known: Iterable[str], *, shown: int = 20) -> str:
    """The end of a message about an unknown name: the nearest known one, or else the first `shown` of them."""
    known = list(known)
    if (near := nearest(wrong, known)) is not None:
        return f"did you mean {near!r}?"
    return f"there are: {', '.join(known[:shown])}" + (", ..." if len(known) > shown else "")


INTERRUPTED = 130  # what a shell expects of a command that ctrl-C has ended


def exit_code(command: Callable[[], int | None]) -> int:
    """Runs the body of a command: 0, or what it returns; 2, with one line on stderr, for a `UserError`, an OSError, or where
    the memory does not suffice.

    Anything else is a defect, and its traceback shows. REPMET_TRACEBACK=1 shows that of a user's error too.
    """
    warnings.formatwarning = _plain_warning
    try:
        return command() or 0
    except BrokenPipeError:  # nobody reads any more: no error of the disk
        raise
    except (UserError, OSError) as error:
        if os.environ.get("REPMET_TRACEBACK"):
            traceback.print_exc()
        print(f"error: {_output_if_full(error)}{one_line(error)}", file=sys.stderr)
        return 2
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        if os.environ.get("REPMET_TRACEBACK"):
            traceback.print_exc()
        print(
            "error: out of memory: fewer images at once (--batch-size), smaller ones or fewer processes take less",
            file=sys.stderr,
        )
        return 2


_python_warning = warnings.formatwarning


def _plain_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning to users as its message on one line, without the place in the source; another one as Python has it."""
    if category is not UserWarning or os.environ.get("REPMET_TRACEBACK"):
        return _python_warning(message, category, filename, lineno, line)
    return f"warning: {on_a_line(' '.join(str(message).split()))}\n"


_NO_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "insufficient memory",
    "bad allocation",
    "bad_alloc",
    "can't start new thread",
    "could not create a memory",  # oneDNN
    "could not create a primitive\n",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was no memory: Python's own error, or what torch, OpenCV and the runtimes raise in its place."""
    return isinstance(error, MemoryError) or any(words in f"{error}\n".lower() for words in _NO_MEMORY)


def _output_if_full(error: BaseException) -> str:
    """Names the output where it is what has no room; it goes nowhere then. Of its errors the system names no file."""
    full = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
    if not isinstance(error, OSError) or error.filename is not None or error.errno not in full:
        return ""
    try:
        print(flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "standard output: "
    return ""


def one_line(error: BaseException) -> str:
    """What an error says, with the name of the file where the system says it; from a data worker, what went wrong there."""
    if isinstance(error, OSError) and error.strerror:
        return (
            error.strerror
            if error.filename is None
            else f"{on_a_line(shortened(os.fsdecode(error.filename), 300))}: {error.strerror}"
        )
    lines = [line.strip() for line in str(error).split("\n") if line.strip()] or [type(error).__name__]
    if lines[0].startswith("Caught "):  # torch puts the worker's traceback in front
        return lines[-1].partition(": ")[2] or lines[-1]
    return on_a_line(" ".join(lines))
