"""Fetch a file from the net, whole and verified.

`torchvision.datasets.utils` downloads and checks an MD5 sum too, but knows one address only and begins anew after a broken
transfer; Pascal VOC 2012 is two gigabytes from a slow server. So this goes on where it stopped, also in another process,
and tries mirrors.
"""

import errno
import hashlib
import http.client
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from repmet.data.files.alone import alone
from repmet.errors import UserError

BLOCK = 1 << 20
_RETRY_STATUS = (408, 425, 429)  # and every 5xx


class _StaleResumption(Exception):
    """What was kept of an earlier transfer does not fit what the server has."""


def fetch(
    urls: str | Sequence[str],
    target: str | Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    attempts: int = 4,
    timeout: float = 30.0,
    pause: float = 1.0,
) -> Path:
    """Download to `target` and return it; a file that is there with the right checksum is kept as it is.

    The data gather in `target.part` and get their name only when the checksum is right. A broken transfer is resumed (HTTP
    Range), by a later call too; a server without Range begins anew. Several processes may ask for one file: one fetches it.

    Args:
        urls: one address or several mirrors, tried in order.
        sha256, md5: hexadecimal checksum; at least one is needed.
        size: bytes, where known, to check them and the room on the disk before the transfer.
        attempts: how often in a row an address may fail without sending anything new.
        timeout: seconds without a byte that count as a failure. pause: seconds before the second attempt, then doubled.

    Raises:
        ValueError: no checksum given; a wrong checksum (of what every mirror sent, or of a file that is there already).
        OSError: with `errno.ENOSPC`, the disk is full (what has come is kept).
        ConnectionError: no address could deliver; the message lists why, one by one.
    """
    urls = [urls] if isinstance(urls, str) else list(urls)
    target = Path(target)
    if not urls:
        raise UserError(f"{target.name}: no address to fetch it from")
    if sha256 is None and md5 is None:
        raise UserError(f"{target.name}: a download needs a checksum; give sha256 (or md5)")
    if _is_there(target, sha256, md5, size):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone(target):
        if not _is_there(target, sha256, md5, size):  # another process was quicker
            _bring(urls, target, sha256, md5, size, attempts, timeout, pause)
    return target


def _is_there(target: Path, sha256: str | None, md5: str | None, size: int | None) -> bool:
    if not target.exists():
        return False
    if wrong := _mismatch(target, sha256, md5, size):
        raise UserError(f"{target}: {wrong}; delete it to fetch it again")
    return True


def _bring(
    urls: Sequence[str],
    target: Path,
    sha256: str | None,
    md5: str | None,
    size: int | None,
    attempts: int,
    timeout: float,
    pause: float,
) -> None:
    part = target.with_name(target.name + ".part")
    failures: list[str] = []
    unreachable = False
    for url in urls:
        # A second round: a file kept from before may be of another version; then a clean start settles it.
        for resumed in (part.exists() and part.stat().st_size > 0, False):
            try:
                _transfer(url, part, size, attempts, timeout, pause)
            except (ConnectionError, TimeoutError) as error:
                failures.append(f"{url}: {error}")
                unreachable = True
                break
            wrong = _mismatch(part, sha256, md5, size)
            if wrong is None:
                os.replace(part, target)
                return
            part.unlink()
            if not resumed:
                failures.append(f"{url}: {wrong}")
                break
    reasons = "\n  ".join(failures)
    error_type = ConnectionError if unreachable else UserError
    raise error_type(f"could not fetch {target.name}:\n  {reasons}\nput the file at {target} by hand, or try again later")


def _transfer(url: str, part: Path, size: int | None, attempts: int, timeout: float, pause: float) -> None:
    """Bring `part` to its full length, resuming as often as that brings something new."""
    failed = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        if size is not None and have == size:
            return
        try:
            _receive(url, part, have, timeout)
            return
        except _StaleResumption:
            part.unlink()
            continue
        except urllib.error.HTTPError as error:
            if error.code not in _RETRY_STATUS and error.code < 500:
                raise ConnectionError(f"the server answers {error.code} {error.reason}") from None
            reason = f"the server answers {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = str(getattr(error, "reason", error))
        advanced = part.exists() and part.stat().st_size > have
        failed = 1 if advanced else failed + 1
        if failed >= attempts:
            raise ConnectionError(f"{reason} ({attempts} attempts)")
        time.sleep(pause * 2 ** (failed - 1))


def _receive(url: str, part: Path, have: int, timeout: float) -> None:
    """One request. Appends to `part` from byte `have` on; raises ConnectionError when less came than was announced."""
    request = urllib.request.Request(url, headers={"User-Agent": "repmet", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing beyond `have`: complete, or kept from something longer
            if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
                return
            raise _StaleResumption from None
        raise
    with response:
        if have and response.status != 206:
            have = 0  # the server does not resume
        elif have and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise _StaleResumption
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        if total is not None and shutil.disk_usage(part.parent).free < total - have:
            raise disk_full(part.parent, f"{part.name} needs {_size(total - have)} more")
        progress = _Progress(part.name.removesuffix(".part"), have, total)
        with open(part, "ab" if have else "wb") as file:
            while block := _read(response):
                try:
                    file.write(block)
                    file.flush()
                except OSError as error:
                    if error.errno == errno.ENOSPC:
                        raise disk_full(part.parent, f"while fetching {part.name}, which is kept") from None
                    raise
                have += len(block)
                progress.show(have)
        progress.show(have, end=True)
        if total is not None and have < total:
            raise ConnectionError(f"the connection broke off after {_size(have)} of {_size(total)}")


def _read(response: http.client.HTTPResponse) -> bytes:
    """The next block; whatever the network raises becomes a ConnectionError, so that it differs from a disk's error."""
    try:
        return response.read(BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"the connection broke off: {error}") from None


def _mismatch(path: Path, sha256: str | None, md5: str | None, size: int | None) -> str | None:
    """What is wrong with a file's size or checksum, or None."""
    if size is not None and path.stat().st_size != size:
        return f"{path.stat().st_size} bytes instead of {size}"
    sums = {"sha256": (hashlib.sha256(), sha256), "md5": (hashlib.md5(usedforsecurity=False), md5)}
    sums = {name: pair for name, pair in sums.items() if pair[1] is not None}
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            for digest, _ in sums.values():
                digest.update(block)
    for name, (digest, wanted) in sums.items():
        if digest.hexdigest() != wanted.lower():
            return f"{name} {digest.hexdigest()} instead of {wanted}"
    return None


def disk_full(folder: Path, what: str) -> OSError:
    """The error of a disk without room; `what` says for what."""
    free = _size(shutil.disk_usage(folder).free) if folder.exists() else "nothing"
    return OSError(errno.ENOSPC, f"the disk is full: {what}, {free} free; make room and run it again", str(folder))


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


class _Progress:
    """A line that is rewritten on a terminal, and one line for each tenth where the output is no terminal."""

    def __init__(self, name: str, have: int, total: int | None) -> None:
        self.name, self.first, self.total = name, have, total
        self.start = self.shown = time.monotonic()
        self.tenth = 10 * have // total if total else 0

    def show(self, have: int, *, end: bool = False) -> None:
        now, terminal = time.monotonic(), sys.stderr.isatty()
        tenth = 10 * have // self.total if self.total else 0
        if not end and (now - self.shown < 0.5 if terminal else tenth == self.tenth):
            return
        self.shown, self.tenth = now, tenth
        rate = (have - self.first) / max(now - self.start, 1e-6)
        line = f"{self.name}: {_size(have)}"
        if self.total:
            left = (self.total - have) / max(rate, 1.0)
            line += (
                f" of {_size(self.total)} ({100 * have // max(self.total, 1)} %), {_size(int(rate))}/s, {left:.0f} s left"
            )
        print(f"\r\033[K{line}" if terminal else line, end="\n" if end or not terminal else "", file=sys.stderr, flush=True)
