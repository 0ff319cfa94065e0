"""Embeddings of images in a file, NumPy's or Parquet: names, vectors, and the encoder that made them."""

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from repmet.data.files.atomic import check_folder, check_regular, write_atomically
from repmet.errors import MissingPackage, UserError

FORMAT = "repmet-embeddings-1"
SUFFIXES = (".npz", ".parquet")
AT_ONCE = 4096  # vectors in memory while they are written


@dataclass(frozen=True, eq=False)
class ImageEmbeddings:
    """Embedded images.

    Attributes:
        names: n paths or addresses.
        vectors: (n, e) float32.
        encoder: `source`, `size` and `digest` of what made them, as `ImageEncoder` has them.
    """

    names: tuple[str, ...]
    vectors: np.ndarray
    encoder: Mapping[str, Any]


def check_suffix(path: str | Path) -> Path:
    """Raises ValueError unless the file is of a format that is written, ImportError where its package is not installed."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: embeddings are written as {' or '.join(SUFFIXES)}")
    if path.suffix.lower() == ".parquet":
        _parquet(path)
    return path


def check_replaceable(path: str | Path) -> Path:
    """Whether embeddings can be written here: a command asks before it spends time.

    Raises:
        ValueError: the ending; a file that holds anything else. ImportError: Parquet, and pyarrow is not installed.
        OSError: its folder cannot be written to; a folder or a device of its name.
    """
    path = check_suffix(path)
    if path.is_file() and path.stat().st_size and not _holds_embeddings(path):
        raise UserError(f"{path}: is there, and is no file of embeddings: name another file, or move it")
    check_folder(path.parent)
    return check_regular(path)


def _holds_embeddings(path: Path) -> bool:
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                about = str(arrays["about"])
        else:
            about = _parquet(path)[1].read_schema(path).metadata[b"repmet"].decode()
        return json.loads(about)["format"] == FORMAT
    except Exception:  # whatever a damaged archive, or one of others, raises
        return False


def write_embeddings(embeddings: ImageEmbeddings, path: str | Path) -> None:
    """Writes a file, whole or not at all.

    `.npz` holds the arrays `names`, `embeddings` and `about`, which is JSON; `.parquet` the columns `image` and `embedding`,
    lists of one length, and the same JSON as `repmet` in the schema's metadata.

    Raises:
        ValueError: another ending. ImportError: Parquet, and pyarrow is not installed.
    """
    write_vectors(embeddings.names, iter(embeddings.vectors), embeddings.encoder, path)


def write_vectors(names: Sequence[str], vectors: Iterator[np.ndarray], encoder: Mapping[str, Any], path: str | Path) -> int:
    """As `write_embeddings`, of vectors (e,) that come one after the other: no more than some of them are in memory.

    Returns:
        The dimensions e.

    Raises:
        ValueError: the ending. ImportError: Parquet, and pyarrow is not installed.
    """
    path = check_suffix(path)
    about = json.dumps({"format": FORMAT, "encoder": dict(encoder)})
    first = next(vectors)
    blocks = _blocks(chain([first], vectors))
    if path.suffix.lower() == ".npz":
        write_atomically(path, lambda file: _write_npz(file, names, blocks, len(first), about))
    else:
        write_atomically(path, lambda file: _write_parquet(path, file, names, blocks, len(first), about))
    return len(first)


def _blocks(vectors: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    rest = iter(vectors)
    while block := list(islice(rest, AT_ONCE)):
        yield np.stack(block).astype("<f4")


def _write_npz(file: BinaryIO, names: Sequence[str], blocks: Iterator[np.ndarray], dimensions: int, about: str) -> None:
    """What `numpy.savez` writes, the vectors a block at a time."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in (("names", np.array(names, str)), ("about", np.array(about))):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                np.lib.format.write_array(part, array, allow_pickle=False)
        with archive.open("embeddings.npy", "w", force_zip64=True) as part:
            shape = {"descr": "<f4", "fortran_order": False, "shape": (len(names), dimensions)}
            np.lib.format.write_array_header_1_0(part, shape)
            for block in blocks:
                part.write(block.tobytes())


def _write_parquet(
    path: Path, file: BinaryIO, names: Sequence[str], blocks: Iterator[np.ndarray], dimensions: int, about: str
) -> None:
    """A row group a block."""
    pyarrow, parquet = _parquet(path)
    columns = [("image", pyarrow.string()), ("embedding", pyarrow.list_(pyarrow.float32(), dimensions))]
    schema, done = pyarrow.schema(columns, metadata={"repmet": about}), 0
    with parquet.ParquetWriter(file, schema) as writer:
        for block in blocks:
            lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(block.ravel()), dimensions)
            images = pyarrow.array(names[done : done + len(block)], pyarrow.string())
            writer.write_table(pyarrow.table([images, lists], schema=schema))
            done += len(block)


def read_embeddings(path: str | Path) -> ImageEmbeddings:
    """What `write_embeddings` wrote.

    Raises:
        FileNotFoundError: no such file. ValueError: it is another file, or a damaged one.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of embeddings; make it by repmet embed --images DIR --out {path}")
    check_suffix(path)
    read = _read_npz if path.suffix.lower() == ".npz" else _read_parquet
    try:
        names, vectors, text = read(path)
        about = json.loads(text)
        if about["format"] != FORMAT or vectors.ndim != 2 or len(vectors) != len(names):
            raise ValueError(f"of the format {about['format']}, {vectors.shape}")
    except MissingPackage:
        raise
    except Exception as error:  # whatever a damaged archive raises
        raise UserError(f"{path}: not a file that repmet embed wrote ({type(error).__name__}: {error})") from None
    return ImageEmbeddings(tuple(map(str, names)), vectors, about["encoder"])


def _read_npz(path: Path) -> tuple[Sequence[str], np.ndarray, str]:
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
        return arrays["names"].tolist(), arrays["embeddings"], str(arrays["about"])


def _read_parquet(path: Path) -> tuple[Sequence[str], np.ndarray, str]:
    _, parquet = _parquet(path)
    table = parquet.read_table(path)
    lists = table.column("embedding").combine_chunks()
    vectors = lists.flatten().to_numpy().reshape(len(lists), -1)
    return table.column("image").to_pylist(), vectors, (table.schema.metadata or {})[b"repmet"].decode()


def _parquet(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingPackage(f"{path}: Parquet needs pyarrow: pip install 'repmet[similar]', or name a .npz file") from None
    return pyarrow, pyarrow.parquet
