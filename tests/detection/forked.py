"""Commands in several processes on this machine, as torchrun starts them."""

import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch


def run(main: Callable, *arguments: str | Path, processes: int = 1, log: Path, codes: Sequence[int] = ()) -> list[str]:
    """A command's main in forked processes (which spares them the imports), as torchrun starts them; what each printed.

    Args:
        codes: how each has to end; without them with 0.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):
        child = os.fork()
        if not child:
            _in_child(main, [str(a) for a in arguments], rank, processes, port, Path(f"{log}{rank}"))
        children.append(child)
    ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    said = [Path(f"{log}{rank}").read_text() for rank in range(processes)]
    assert ended == list(codes or [0] * processes), said
    return said


def _in_child(main: Callable, arguments: list[str], rank: int, processes: int, port: int, log: Path) -> None:
    code = 1
    try:
        signal.alarm(300)
        torch.set_num_threads(1)  # the pool of threads is not forked
        if processes > 1:
            world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
            os.environ |= {k: str(v) for k, v in world.items()} | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        with log.open("w") as file, redirect_stdout(file), redirect_stderr(file):
            try:
                code = main(arguments)
            except BaseException:
                traceback.print_exc()
    finally:
        os._exit(code)


def ended(main: Callable, *arguments: str | Path, log: Path) -> int:
    """The exit code of a command's main in a forked process; what it printed is in `log`."""
    return os.waitstatus_to_exitcode(os.waitpid(_forked(main, arguments, log), 0)[1])


def _forked(main: Callable, arguments: Sequence[str | Path], log: Path) -> int:
    child = os.fork()
    if not child:
        _in_child(main, [str(a) for a in arguments], 0, 1, 0, log)
    return child


def killed(main: Callable, *arguments: str | Path, after: float, log: Path) -> bool:
    """Starts a command's main in a forked process and kills it after some seconds; whether it had ended by then."""
    child = _forked(main, arguments, log)
    until = time.monotonic() + after
    while time.monotonic() < until:
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False
