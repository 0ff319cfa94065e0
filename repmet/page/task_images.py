"""The image of a labelling task: a file below the folder that was named, or fetched from the labelling tool itself.

    /data/local-files/?d=sub/a.jpg   the file below the folder
    /data/upload/3/a.jpg             what somebody uploaded: fetched from Label Studio, once, with its key

No other address is asked, and no redirection is followed: the backend reaches nothing that its starter did not name.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from repmet.errors import UserError
from repmet.files import image_size, is_image_file, make_folder, write_atomically
from repmet.page.gallery import LARGEST, Picture

TIMEOUT = 20  # seconds
LARGEST_FILE = 100 << 20  # bytes
LOCAL = "/data/local-files/"
REMOTE = ("/data/upload/", "/tasks/")


class TaskImages:
    """Leads from the address in a task to a file.

    Args:
        folder: what local files are below; Label Studio's LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
        fetched: the folder for what is fetched.
        host: Label Studio's address.
        key: of an account there; None: the one that Label Studio sends when it connects the backend.
    """

    def __init__(self, folder: Path, fetched: Path, host: str, key: str | None = None) -> None:
        self.root, self.fetched, self.key = Path(os.path.realpath(folder)), fetched, key
        parts = urlsplit(host)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f"{host}: Label Studio's address begins with http:// or https://")
        self.host = f"{parts.scheme}://{parts.netloc}"

    def file(self, address: object) -> Path:
        """The file of an address.

        Raises:
            ValueError: the address leads elsewhere, or to no image, or one that is too large.
            ConnectionError: Label Studio does not hand it out.
        """
        if not isinstance(address, str) or not address or len(address) > 4096:
            raise UserError("a task names no image")
        parts = urlsplit(address)
        same = not parts.netloc or f"{parts.scheme}://{parts.netloc}" == self.host
        if same and parts.path == LOCAL:
            (name, *_) = parse_qs(parts.query).get("d") or [""]
            return self._checked(self._inside(name))
        if same and parts.path.startswith(REMOTE) and ".." not in PurePosixPath(unquote(parts.path)).parts:
            return self._checked(self._fetch(parts.path))
        raise UserError(f"{address:.200}: neither a file of the folder nor of {self.host}; it is not opened")

    def _inside(self, name: str) -> Path:
        if not name or "\0" in name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UserError(f"{name!r:.200} is no path below the folder")
        path = self.root / name
        if not is_image_file(path):
            raise UserError(f"{name!r:.200} is not the name of an image")
        Picture(path, self.root).file()  # no link leads out
        return path

    def _checked(self, path: Path) -> Path:
        width, height = image_size(path)
        if width * height > LARGEST:
            raise UserError(f"{path.name}: {width} x {height} pixels are more than the {LARGEST:,} that are opened")
        return path

    def _fetch(self, path: str) -> Path:
        suffix = PurePosixPath(unquote(path)).suffix.lower()
        if not is_image_file(Path(f"a{suffix}")):
            raise UserError(f"{path:.200}: is not the name of an image")
        kept = self.fetched / f"{sha256(f'{self.host}{path}'.encode()).hexdigest()[:32]}{suffix}"
        if not kept.is_file():
            content = self._get(path)
            make_folder(self.fetched)
            write_atomically(kept, lambda file: file.write(content))
        return kept

    def _get(self, path: str) -> bytes:
        address = self.host + quote(unquote(path))
        request = urllib.request.Request(address, headers={"User-Agent": "repmet", **self._authorization()})
        return _read(request, address)

    def _authorization(self) -> dict[str, str]:
        """Of a legacy token, or of a personal access token, which is first exchanged for one that lasts minutes."""
        if not self.key:
            return {}
        if self.key.count(".") != 2:
            return {"Authorization": f"Token {self.key}"}
        address = f"{self.host}/api/token/refresh/"
        body = json.dumps({"refresh": self.key}).encode()
        request = urllib.request.Request(address, body, {"Content-Type": "application/json", "User-Agent": "repmet"})
        try:
            return {"Authorization": f"Bearer {json.loads(_read(request, address))['access']}"}
        except (ValueError, KeyError, TypeError):
            raise ConnectionError(f"{address}: gives no access for this key") from None


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _read(request: urllib.request.Request, address: str) -> bytes:
    try:
        with urllib.request.build_opener(_NoRedirection).open(request, timeout=TIMEOUT) as response:
            content: bytes = response.read(LARGEST_FILE + 1)
    except urllib.error.HTTPError as error:
        more = "; start with --api-key KEY, of an account of Label Studio" if error.code in (401, 403, 302) else ""
        raise ConnectionError(f"{address}: Label Studio answers {error.code}{more}") from None
    except (OSError, ValueError) as error:
        raise ConnectionError(f"{address}: cannot be fetched ({getattr(error, 'reason', error)})") from None
    if len(content) > LARGEST_FILE:
        raise UserError(f"{address}: more than {LARGEST_FILE >> 20} MiB, too large for an image")
    return content
