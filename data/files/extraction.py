"""Unpack an archive from the net safely: every member is looked at before the first is written.

`torchvision.datasets.utils.extract_archive` leaves that to Python, which before 3.14 writes where a member's name leads it.
"""

import errno
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from repmet.data.files.download import disk_full
from repmet.errors import UserError


def extract(archive: str | Path, folder: str | Path) -> Path:
    """Unpack a tar or zip file into `folder` and return that.

    Raises ValueError for a file that is no archive or is damaged, and for a member that would land outside `folder` or is
    a link or a device; OSError with ENOSPC for a full disk.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                for member in tar:
                    _check_member(archive, member.name, plain=member.isfile() or member.isdir())
                # The filter also drops owners and odd permissions; Python versions before it lack the argument.
                tar.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        elif zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as pack:
                for info in pack.infolist():
                    kind = stat.S_IFMT(info.external_attr >> 16)
                    _check_member(archive, info.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
                pack.extractall(folder)
        else:
            raise UserError(f"{archive}: neither a tar nor a zip file; fetch it again")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{archive}: the archive is damaged ({error}); delete it and fetch it again") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise disk_full(folder, f"unpacking {archive.name}") from None
        raise
    return folder


def _check_member(archive: Path, name: str, *, plain: bool) -> None:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.drive or windows.root or ".." in posix.parts or ".." in windows.parts:
        raise UserError(f"{archive}: member {name!r} would land outside the folder; the archive is not to be trusted")
    if not plain:
        raise UserError(f"{archive}: member {name!r} is a link or a device; the archive is not to be trusted")
