"""Several processes that share one evaluation: torchrun starts them, each takes every n-th piece of the work."""

import os
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.distributed
from mmengine.dist import get_rank, get_world_size, is_distributed, is_main_process

from repmet.experiments.running.runner import launched_by_torchrun

Piece = TypeVar("Piece")


def join() -> None:
    """Joins the processes that torchrun started; does nothing in a process on its own.

    What they exchange lies in memory, not on a GPU, so gloo carries it; each process takes the GPU of its number.
    """
    if not launched_by_torchrun() or is_distributed():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    torch.distributed.init_process_group(backend="gloo")


def my_share(pieces: Sequence[Piece]) -> list[Piece]:
    """Every n-th piece, for the process of this number among n; all of them for one on its own."""
    return list(pieces[get_rank() :: get_world_size()])


def say(text: str) -> None:
    """Prints once, whatever the number of processes."""
    if is_main_process():
        print(text, flush=True)
