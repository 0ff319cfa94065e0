"""One at a time: threads and processes, whatever ends them."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from repmet.data.files.alone import alone

HOLDER = """
import sys, time
from repmet.data.files.alone import alone
with alone(sys.argv[1]):
    print("in", flush=True)
    time.sleep(60)
"""


def test_nobody_is_in_the_block_with_another(tmp_path: Path) -> None:
    inside, counts = [], []

    def work() -> None:
        for _ in range(20):
            with alone(tmp_path / "a"):
                inside.append(1)
                counts.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [1] * 80 and not list(tmp_path.iterdir())


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "a"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    waited = threading.Thread(target=lambda: alone(tmp_path / "a").__enter__(), daemon=True)
    waited.start()
    waited.join(0.2)
    assert waited.is_alive()
    process.send_signal(signal.SIGKILL)
    process.wait()
    waited.join(30)
    assert not waited.is_alive()


def test_an_error_goes_through_and_lets_go(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone(tmp_path / "a"):
        raise KeyError
    with alone(tmp_path / "a"):
        pass
    assert not list(tmp_path.iterdir())
