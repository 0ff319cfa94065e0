"""What a measurement has to say about where it came from."""

import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from repmet.installation import checkout

_PACKAGES = ("torch", "torchvision", "numpy", "onedl-mmengine", "onedl-mmcv", "onedl-mmdetection")


DIRTY = "-dirty"


def origin() -> dict[str, Any]:
    """What every file of figures says: the revision, the versions, the machine, and the command."""
    return {"git": git_revision(), "versions": versions(), "machine": machine(), "evaluated_by": invocation()}


def git_revision() -> str | None:
    """The checkout's revision, with `-dirty` where tracked files differ from it; None outside a checkout of ours.

    A package that is installed, or a copy that is unpacked, below the folder of another repository has none.
    """
    root = checkout()
    top = git(root, "rev-parse", "--show-toplevel") if root else None
    if not top or Path(top.rstrip("\n")).resolve() != root:
        return None
    revision = git(root, "describe", "--always", f"--dirty={DIRTY}", "--abbrev=12", "--exclude=*")
    return revision and revision.strip()


def git(folder: Path, *arguments: str) -> str | None:
    """What git prints in a folder; None where it fails, as outside a checkout."""
    try:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def invocation() -> str | None:
    """The command line of this process as it is typed in the checkout; None where python runs something else."""
    words = list(sys.orig_argv)
    if "-m" in words[1:]:
        return shlex.join(["python", *words[words.index("-m") :]])
    program = Path(sys.argv[0])
    return shlex.join([program.name, *sys.argv[1:]]) if program.name == "repmet" else None


def versions() -> dict[str, str]:
    """Python and the packages that figures depend on, as far as they are installed."""
    installed = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def machine() -> str:
    """The processor and how many cores this process may use, or the GPU."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{processor()}, {cores} cores"


def processor() -> str:
    """The processor's name, as far as the system says it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
