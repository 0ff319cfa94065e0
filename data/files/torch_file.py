"""Torch's files of tensors and plain values, read and written as arrays where there is no torch.

A file of `torch.save` is an uncompressed zip: `data.pkl`, a pickle in which a tensor is a call of `_rebuild_tensor_v2` on a
storage, and `data/0`, `data/1`, ..., the bytes of the storages. Reading runs nothing that the pickle names: four names are
known, and none of them is called as it stands there.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from repmet.data.files.atomic import check_folder, check_regular, write_atomically
from repmet.errors import UserError

STORAGES = {
    "FloatStorage": np.float32, "DoubleStorage": np.float64, "HalfStorage": np.float16, "LongStorage": np.int64,
    "IntStorage": np.int32, "ShortStorage": np.int16, "CharStorage": np.int8, "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}  # fmt: skip
REBUILD = ("torch._utils", "_rebuild_tensor_v2")
PROTOCOL = 2  # of pickles, torch's


class _Name(NamedTuple):
    """Something of torch's, by name."""

    module: str
    name: str

    def __call__(self) -> None:
        """Never called: `pickle` writes calls of callables alone."""


class _Storage(NamedTuple):
    """Where a tensor's numbers are."""

    values: np.ndarray


def read_torch_file(path: str | Path) -> Any:
    """What `torch.save` wrote, with arrays in the place of tensors.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, no such file, or holds other objects than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            return _Reader(archive).load()
    except (zipfile.BadZipFile, pickle.UnpicklingError, KeyError, TypeError, ValueError, EOFError, IndexError) as error:
        raise UserError(f"{path}: damaged, or no file of tensors and plain values ({error})") from None


def check_replaceable(path: str | Path, formats: Collection[str]) -> None:
    """Whether a file of learnt classes can be written here: a command asks before it spends time.

    Args:
        formats: what its key `format` may say.

    Raises:
        OSError: its folder cannot be written to; a folder or a device of its name.
        ValueError: it would take the place of a file of another kind, such as a photograph, the supports themselves, a
            checkpoint, or what another kind of model has learnt.
    """
    path = Path(path)
    if path.is_file() and path.stat().st_size and _format(path) not in formats:
        raise UserError(f"{path}: is there, and is no file of learnt classes of this kind: name another, or take it away")
    check_folder(path.parent)
    check_regular(path)


def _format(path: Path) -> object:
    """What a file says of itself under `format`; None of one that says nothing, or is no such file."""
    try:
        with zipfile.ZipFile(path) as archive:
            content = _Outline(archive).load()
    except Exception:  # whatever a damaged archive, or one of other objects, raises
        return None
    return content.get("format") if isinstance(content, dict) else None


def write_torch_file(content: Any, path: str | Path) -> None:
    """Writes arrays and plain values so that `torch.load(path, weights_only=True)` reads them, whole or not at all."""
    pickled, storages = io.BytesIO(), []
    _Writer(pickled, storages).dump(content)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickled.getvalue())
        archive.writestr("archive/byteorder", "little")
        for number, values in enumerate(storages):
            archive.writestr(f"archive/data/{number}", values.astype(values.dtype.newbyteorder("<")).tobytes())
        archive.writestr("archive/version", "3\n")
    write_atomically(path, lambda file: file.write(whole.getvalue()))


def check_sums(path: str | Path) -> None:
    """Compares a file's parts with their checksums, which torch writes and does not look at when it reads.

    Raises:
        BadZipFile: one is not what was written. Of files of another form nothing is said.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if (name := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"{name} is not what was written")


class _Reader(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile) -> None:
        (name,) = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        super().__init__(io.BytesIO(archive.read(name)))
        self.archive, self.root = archive, name.removesuffix("data.pkl")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == REBUILD:
            return _rebuilt
        if module == "torch" and name in STORAGES:
            return np.dtype(STORAGES[name])
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"it holds {module}.{name}")

    def persistent_load(self, key: Any) -> _Storage:
        kind, dtype, name, _, count = key
        if kind != "storage":
            raise pickle.UnpicklingError(f"it holds a {kind}")
        return _Storage(np.frombuffer(self.archive.read(f"{self.root}data/{name}"), dtype, count))


class _Outline(_Reader):
    """The plain values alone: of a large file no tensor is read."""

    def find_class(self, module: str, name: str) -> Any:
        return (lambda *_: None) if (module, name) == REBUILD else super().find_class(module, name)

    def persistent_load(self, key: Any) -> None:
        return None


def _rebuilt(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> np.ndarray:
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if min((offset, *strides)) < 0 or (0 not in shape and last >= len(storage.values)):
        raise ValueError("a tensor is larger than its storage")
    step = storage.values.itemsize
    view = np.lib.stride_tricks.as_strided(storage.values[offset:], shape, [s * step for s in strides], writeable=False)
    return view.copy()


class _Writer(pickle._Pickler):
    """Python's own pickler, since that of C cannot name what is not there."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def __init__(self, file: io.BytesIO, storages: list[np.ndarray]) -> None:
        super().__init__(file, PROTOCOL)
        self.storages = storages

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, _Storage):
            return None
        (name,) = [name for name, kind in STORAGES.items() if kind == value.values.dtype]
        self.storages.append(value.values)
        return "storage", _Name("torch", name), str(len(self.storages) - 1), "cpu", value.values.size

    def save_array(self, array: np.ndarray) -> None:
        values = np.ascontiguousarray(array).reshape(array.shape)
        if values.dtype not in map(np.dtype, STORAGES.values()):
            raise TypeError(f"torch has no tensors of {values.dtype}")
        strides = tuple(step // values.itemsize for step in values.strides)
        parts = _Storage(values.ravel()), 0, values.shape, strides, False, OrderedDict()
        self.save_reduce(_Name(*REBUILD), parts, obj=array)

    def save_name(self, name: _Name) -> None:
        self.write(pickle.GLOBAL + f"{name.module}\n{name.name}\n".encode())
        self.memoize(name)

    dispatch[np.ndarray] = save_array
    dispatch[_Name] = save_name
