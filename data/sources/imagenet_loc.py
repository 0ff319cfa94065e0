"""ImageNet-LOC: the localisation boxes of ILSVRC, read where they lie; RepMet's benchmark of few-shot detection draws on it.

The tree is the one that ILSVRC is distributed in (behind a login, so nothing is fetched):

    ILSVRC/Annotations/CLS-LOC/train/n01440764/*.xml, val/*.xml     ILSVRC/Data/CLS-LOC/train/n01440764/*.JPEG, val/*.JPEG
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from repmet.data.files.walk import entries, subfolders
from repmet.data.readers.voc_annotation import ImageRecord, check_image, read_annotation, tell_left_out
from repmet.errors import UserError

SAMPLE = 200  # images a class in RepMet's base training


def imagenet_root(root: str | Path) -> Path | None:
    """The folder that holds Annotations/CLS-LOC and Data/CLS-LOC: `root` or `root`/ILSVRC; None if it is neither."""
    for place in (Path(root), Path(root) / "ILSVRC"):
        if (place / "Annotations" / "CLS-LOC").is_dir() and (place / "Data" / "CLS-LOC").is_dir():
            return place
    return None


def read_imagenet_loc(root: str | Path, image_set: str, classes: Sequence[str] | None = None) -> list[ImageRecord]:
    """The annotated images of `train` or `val`, by rising id.

    Images that cannot be used (a box outside the picture, a size that is not the picture's) are left out with one warning
    that counts them: the set is published and nobody can correct it.

    Args:
        root: the tree.
        image_set: `train`, `val`, or `train:200` for so many images a class drawn by seed 0 (`train:200:7`: by seed 7); the
            draw of a class depends on no other class.
        classes: WordNet ids whose images are read, of `train` by their folders; all of them by default, which takes long.

    Raises:
        FileNotFoundError: no such tree, or a class without a folder.
        ValueError: another list, or no usable image.
    """
    tree = imagenet_root(root)
    if tree is None:
        raise FileNotFoundError(f"{root}: no ILSVRC tree; it holds Annotations/CLS-LOC and Data/CLS-LOC")
    name, *more = image_set.split(":")
    if name not in ("train", "val") or len(more) > 2 or not all(part.isdigit() for part in more) or (more and name == "val"):
        raise UserError(f"{root}: image set {image_set!r} is none of train, val, train:N, train:N:SEED")
    xml, pictures = tree / "Annotations" / "CLS-LOC" / name, tree / "Data" / "CLS-LOC" / name
    if name == "val":
        files = [(pictures, path) for path in _annotations(xml)]
    else:
        wanted = sorted(classes) if classes is not None else [folder.name for folder in subfolders(xml)]
        if absent := [wnid for wnid in wanted if not (xml / wnid).is_dir()]:
            raise FileNotFoundError(f"{xml}: no folder of {len(absent)} class(es), the first is {absent[0]}")
        limit, seed = (int(more[0]) if more else None), (int(more[1]) if len(more) > 1 else 0)
        files = []
        for wnid in wanted:
            of_class = [(pictures / wnid, path) for path in _annotations(xml / wnid)]
            files += of_class if limit is None else [of_class[k] for k in sorted(_draw(len(of_class), wnid, seed)[:limit])]
    records, left_out = [], []
    for folder, path in files:
        record, problems = read_annotation(path, folder / f"{path.stem}.JPEG")
        if record is not None and name == "val" and classes is not None and not set(classes) & set(record.names):
            continue
        if record is not None and (problem := check_image(record)):
            problems = [problem]
        if problems:
            left_out += problems[:1]
        else:
            records.append(record)
    tell_left_out(left_out, records, f"{tree}: no usable image in {image_set!r}")
    return sorted(records, key=lambda record: record.id)


def _annotations(folder: Path) -> list[Path]:
    return [path for path in entries(folder) if path.suffix == ".xml"]


def _draw(count: int, wnid: str, seed: int) -> list[int]:
    """A random order of a class's images. The raw stream of PCG64 is fixed for ever."""
    bits = np.random.PCG64([seed, int(wnid.lstrip("n") or 0)])
    return np.argsort(bits.random_raw(count), kind="stable").tolist()
