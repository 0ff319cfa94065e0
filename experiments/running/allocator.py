"""Keeps freed memory for the next tensor of its size, where the C library would hand it back to the system each time."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def keep_freed_memory() -> bool:
    """Serves large tensors from a heap that never shrinks; call it before the first of them is made.

    glibc maps memory of more than 32 MB anew for every tensor, and the system clears each page when it is first touched.
    The activations of a small network on some hundred images are of that size, and every training step makes them anew:
    the clearing takes longer than the arithmetic. A process's memory then stays at its peak, which it has in every step.

    Returns:
        Whether it could be done: with glibc, that is on nearly every Linux. Elsewhere nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
