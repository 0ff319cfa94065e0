"""Weights that an experiment names, from a file or an address, read as our own checkpoints are: without running anything."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import get_external_models, get_torchvision_models

from repmet.data.files.digest import sha256_of
from repmet.errors import UserError
from repmet.experiments.running.checkpoints import load_checkpoint


def download(address: str) -> Path:
    """A file of the network, in torch's cache.

    `https://host/best.pth#sha256=HEX` is checked, also where it is in the cache already. Files of one name from different
    addresses are kept apart, but for names that hold a checksum, as torchvision's do.

    Raises:
        ValueError: another checksum, no checksum behind `#`, or neither that nor https.
        ConnectionError: it is neither in the cache nor to be had.
    """
    url, _, fragment = address.partition("#")
    if fragment and not re.fullmatch(r"sha256=[0-9a-fA-F]{64}", fragment):
        raise UserError(f"{address}: what follows `#` is the file's checksum, sha256= and 64 hexadecimal digits")
    wanted = fragment.partition("=")[2].lower()
    parts = urlsplit(url)
    if not wanted and parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise UserError(f"{address}: without https anybody on the way may change it; put its checksum behind, #sha256=...")
    name = PurePosixPath(unquote(urlsplit(url).path))
    if not re.search(r"-[0-9a-f]{8,}$", name.stem):
        name = name.with_name(f"{name.stem}-{hashlib.sha256(url.encode()).hexdigest()[:12]}{name.suffix}")
    path = Path(torch.hub.get_dir(), "checkpoints", name.name)
    if not path.is_file() or (wanted and sha256_of(path) != wanted):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=wanted or None, progress=False)
        except OSError as error:  # URLError and TimeoutError too
            raise ConnectionError(f"{url} cannot be downloaded ({_first_line(error)})") from None
        except RuntimeError as error:
            raise UserError(f"{url}: another file than was asked for ({_first_line(error)})") from None
    return path


def _first_line(error: Exception) -> str:
    return (str(error).strip().split("\n") or [""])[0] or type(error).__name__


def _register_safe_loaders() -> None:
    """Puts `weights_only` readers in place of mmengine's, which fall back to unpickling anything."""

    def load_from_local(filename: str, map_location: Any = None) -> dict:
        return load_checkpoint(filename, map_location)

    def load_from_http(filename: str, map_location: Any = None) -> dict:
        return load_checkpoint(download(filename), map_location)

    def load_from_torchvision(filename: str, map_location: Any = None) -> dict:
        return load_checkpoint(download(_named(get_torchvision_models(), filename)), map_location)

    def load_from_openmmlab(filename: str, map_location: Any = None) -> dict:
        return load_checkpoint(download(_named(get_external_models(), filename)), map_location)

    def load_from_nowhere(filename: str, map_location: Any = None) -> dict:
        raise UserError(f"{filename}: this scheme is not supported; download the file and name it")

    for prefixes, loader in (
        ("", load_from_local),
        (("http://", "https://"), load_from_http),
        (("modelzoo://", "torchvision://"), load_from_torchvision),
        (("open-mmlab://", "openmmlab://"), load_from_openmmlab),
        (("pavi://", "mmcls://", r"(\S+\:)?s3://", r"(\S+\:)?petrel://"), load_from_nowhere),
    ):
        CheckpointLoader.register_scheme(prefixes, loader, force=True)


def _named(known: Mapping[str, str], filename: str) -> str:
    name = filename.partition("://")[2]
    if name not in known:
        raise UserError(f"{filename}: no weights of that name")
    return known[name]


_register_safe_loaders()
