"""What tells one file from another."""

import hashlib
from pathlib import Path


def sha256_of(path: str | Path) -> str:
    """A file's SHA-256, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
