"""Embeddings of images in a file, NumPy's or Parquet: names, vectors, and the encoder that made them."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from repmet.data.files.atomic import write_atomically
from repmet.errors import MissingPackage, UserError

FORMAT = "repmet-embeddings-1"
SUFFIXES = (".npz", ".parquet")


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


def write_embeddings(embeddings: ImageEmbeddings, path: str | Path) -> None:
    """Writes a file, whole or not at all.

    `.npz` holds the arrays `names`, `embeddings` and `about`, which is JSON; `.parquet` the columns `image` and `embedding`,
    lists of one length, and the same JSON as `repmet` in the schema's metadata.

    Raises:
        ValueError: another ending. ImportError: Parquet, and pyarrow is not installed.
    """
    path = check_suffix(path)
    about = json.dumps({"format": FORMAT, "encoder": dict(embeddings.encoder)})
    vectors = np.ascontiguousarray(embeddings.vectors, np.float32)
    if path.suffix.lower() == ".npz":
        arrays = {"names": np.array(embeddings.names, str), "embeddings": vectors, "about": np.array(about)}
        write_atomically(path, lambda file: np.savez(file, **arrays))
        return
    pyarrow, parquet = _parquet(path)
    lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), vectors.shape[1])
    columns = {"image": pyarrow.array(embeddings.names, pyarrow.string()), "embedding": lists}
    table = pyarrow.table(columns).replace_schema_metadata({"repmet": about})
    write_atomically(path, lambda file: parquet.write_table(table, file))


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
