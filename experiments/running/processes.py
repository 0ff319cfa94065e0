"""Several processes that share one piece of work: torchrun starts them, each takes every n-th part of it.

Nothing here imports torch before there is a second process: commands that run without it know this module.
"""

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from repmet.errors import UserError

Piece = TypeVar("Piece")
Value = TypeVar("Value")
PATIENCE = timedelta(days=7)  # a process waits so long for the slowest; one that has died is noticed at once


def launched_by_torchrun() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ and "LOCAL_RANK" in os.environ


def process_number() -> int:
    """Of this process among those that torchrun started, from 0; 0 for one on its own."""
    return int(os.environ["RANK"]) if launched_by_torchrun() else 0


def processes() -> int:
    """How many there are."""
    return int(os.environ["WORLD_SIZE"]) if launched_by_torchrun() else 1


def join() -> None:
    """Joins the processes that torchrun started; does nothing in a process on its own.

    What they exchange lies in memory, not on a GPU, so gloo carries it; each process takes the GPU of its number.
    """
    if not launched_by_torchrun():
        return
    import torch.distributed

    if torch.distributed.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    torch.distributed.init_process_group(backend="gloo", timeout=PATIENCE)


def my_share(pieces: Sequence[Piece]) -> list[Piece]:
    """Every n-th piece, for the process of this number among n; all of them for one on its own."""
    return list(pieces[process_number() :: processes()])


def agreed(value: Callable[[], Value]) -> Value:
    """What the first process computes, for all of them."""
    if processes() == 1:
        return value()
    import torch.distributed

    # An error of the first process is every process's: nobody waits for a value that does not come.
    sent: list[tuple[Value | None, Exception | None]] = [(None, None)]
    if process_number() == 0:
        try:
            sent = [(value(), None)]
        except Exception as error:
            sent = [(None, error)]
    try:
        torch.distributed.broadcast_object_list(sent)
    except RuntimeError:  # its connection is closed
        raise UserError("a process has ended before the work began") from None
    result, error = sent[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def all_arrived() -> bool:
    """Waits until every process has come here; False where one has died."""
    if processes() == 1:
        return True
    import torch.distributed

    try:
        torch.distributed.barrier()
    except RuntimeError:  # its connection is closed
        return False
    return True


def say(text: str) -> None:
    """Prints once, whatever the number of processes."""
    if process_number() == 0:
        print(text, flush=True)
