import subprocess
import sys

import pytest

COUNT = """
import resource, sys, torch
from repmet.experiments.running.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else False
torch.set_num_threads(1)
a = torch.empty(16 << 20).fill_(1)  # 64 MB
for _ in range(20):  # the heap grows by some tensors before it has room for everything
    b = a + 1; del b
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    b = a + 1; del b
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a matter of glibc")
def test_pages_are_cleared_once():
    faults = {}
    for how in ("kept", "as it is"):
        done = subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True)
        said, number = done.stdout.split()
        faults[how] = int(number)
        if how == "kept" and said == "False":
            pytest.skip("this C library has no mallopt")
    assert faults["kept"] < 0.5 * faults["as it is"]
