"""How much memory this program has held; imports nothing heavy, so that it counts what is measured alone."""

import re
from pathlib import Path


def peak_memory() -> float:
    """The most memory that this program has held, in MiB; `getrusage` would count what its parent held before it began."""
    match = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(match[1]) / 1024
