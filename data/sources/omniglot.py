"""Omniglot: 1623 handwritten characters of 50 alphabets, each drawn once by 20 people.

B. Lake, R. Salakhutdinov, J. Tenenbaum: "Human-level concept learning through probabilistic program induction", Science
2015. Two splits: Lake's `background` and `evaluation` alphabets, as they are published; and `train`, `val`, `test` of
Vinyals et al. ("Matching Networks for One Shot Learning", 2016), where each character turned by 0, 90, 180 and 270 degrees
makes four classes. Vinyals' lists of classes are the rule in `vinyals_split`. His `train` has characters of Lake's
evaluation alphabets; `lake_train` is what of it is of the background, to be tested by Lake's own task.

The two zip files are read as they are, never unpacked; the images, scaled down, are kept in one cache file.
"""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import Omniglot

from repmet.data.files.download import fetch
from repmet.data.files.tensor_cache import cached
from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import check_split
from repmet.errors import UserError

CHARACTERS = {"background": 964, "evaluation": 659}
DRAWINGS = 20
VINYALS_CHARACTERS = {"train": 1028, "val": 172, "test": 423}
ROTATIONS = (0, 90, 180, 270)
VAL_ALPHABETS = ("Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)")
TEST_ALPHABETS = (
    "Kannada", "Keble", "Malayalam", "Manipuri", "Mongolian", "Old_Church_Slavonic_(Cyrillic)", "Oriya", "Sylheti",
    "Syriac_(Serto)", "Tengwar", "Tibetan", "ULOG",
)  # fmt: skip
# Of Gurmukhi the last four characters are test, the others train.
TEST_CHARACTERS = tuple(f"Gurmukhi/character{number}" for number in (42, 43, 44, 45))
SPLITS = {
    "train": ("train",),
    "val": ("val",),
    "trainval": ("train", "val"),
    "test": ("test",),
    "background": ("background",),
    "evaluation": ("evaluation",),
    "lake_train": ("train",),
}
_FOLDER = "omniglot-py"  # torchvision's, so that its own data set finds what we fetch
_MEMBER = re.compile(r"(?:.*/)?images_\w+/([^/]+/character\d+)/\d+_(\d+)\.png")


def read(root: str | Path, split: str, *, size: int = 28, rotations: bool = True) -> LabelledImages:
    """One split of Omniglot, downloaded to `root/omniglot-py` where it is neither there nor in `root`.

    Args:
        root: the folder of images_background.zip and images_evaluation.zip.
        split: `train`, `val`, `trainval` or `test` (Vinyals; classes `Alphabet/characterNN/rotRRR`, turned
            counter-clockwise), `lake_train` (of `train` the background's), `background` or `evaluation` (Lake; classes
            `Alphabet/characterNN`).
        size: side in pixels, of 105.
        rotations: false: Vinyals' splits without the turned characters; Lake's have none.

    Returns:
        Images (n, 1, size, size), as drawn: ink 0, paper 255. The 20 drawings of a class are consecutive, drawer by drawer
        (drawing i of every character of an alphabet is by one person).

    Raises:
        ValueError: unknown split, incomplete or damaged archive. ConnectionError: it cannot be downloaded.
    """
    check_split(split, tuple(SPLITS), "Omniglot")
    if not 1 <= size <= 105:
        raise UserError(f"Omniglot's images have 105 pixels a side; size {size} is not within")
    archives = [_archive(Path(root), name) for name in CHARACTERS]
    everything = cached(f"omniglot_bilinear_{size}", archives, lambda: _lay_out(archives, size))
    images, names, lake = everything["images"], everything["names"], everything["lake"]
    parts = SPLITS[split]
    if parts[0] in CHARACTERS:
        chosen = [i for i, part in enumerate(lake) if part in parts]
        return _labelled(images[chosen], [names[i] for i in chosen])
    chosen = [i for i, name in enumerate(names) if vinyals_split(name) in parts]
    if split == "lake_train":
        chosen = [i for i in chosen if lake[i] == "background"]
    if not rotations:
        return _labelled(images[chosen], [names[i] for i in chosen])
    turned = [torch.rot90(images[chosen], turns, dims=(-2, -1)) for turns in range(len(ROTATIONS))]
    classes = [f"{names[i]}/rot{rotation:03d}" for i in chosen for rotation in ROTATIONS]
    return _labelled(torch.stack(turned, dim=1).flatten(0, 1), classes)  # (characters * 4, 20, size, size)


def vinyals_split(character: str) -> str:
    """The part of Vinyals' split, `train`, `val` or `test`, that `Alphabet/characterNN` belongs to."""
    alphabet = alphabet_of(character)
    if alphabet in VAL_ALPHABETS:
        return "val"
    return "test" if alphabet in TEST_ALPHABETS or character in TEST_CHARACTERS else "train"


def alphabet_of(name: str) -> str:
    """The alphabet of a class, rotated or not."""
    return name.partition("/")[0]


def _labelled(images: Tensor, classes: list[str]) -> LabelledImages:
    """images: (N, 20, size, size), class by class, the classes in sorted order."""
    labels = torch.arange(len(classes)).repeat_interleave(images.shape[1])
    return LabelledImages(labels, tuple(classes), images.flatten(0, 1)[:, None])


def _archive(root: Path, part: str) -> Path:
    """The zip file of one of Lake's parts, fetched where it is in none of the places where people keep it."""
    name = f"images_{part}"
    target = root / _FOLDER / f"{name}.zip"
    places = [target, root / f"{name}.zip", root / f"omniglot_{name}.zip"]
    archive = next((place for place in places if place.is_file()), None)
    return archive or fetch(f"{Omniglot.download_url_prefix}/{name}.zip", target, md5=Omniglot.zips_md5[name])


def _lay_out(archives: list[Path], size: int) -> dict:
    """All drawings: images (1623, 20, size, size), the characters' names in sorted order, the part of Lake's of each."""
    drawings: dict[str, Tensor] = {}
    lake: dict[str, str] = {}
    for part, archive in zip(CHARACTERS, archives, strict=True):
        by_name = _decode(archive, size)
        uneven = [name for name, drawn in by_name.items() if len(drawn) != DRAWINGS]
        if len(by_name) != CHARACTERS[part] or uneven:
            fault = f"{uneven[0]} has {len(by_name[uneven[0]])} drawings" if uneven else f"there are {len(by_name)}"
            raise UserError(
                f"{archive}: not the whole of Omniglot's {part} set, {CHARACTERS[part]} characters of {DRAWINGS} "
                f"drawings; {fault}. Delete it to fetch it again"
            )
        for name, drawn in by_name.items():
            drawings[name] = torch.stack([drawn[number] for number in sorted(drawn)])
            lake[name] = part
    names = sorted(drawings)
    for part, wanted in VINYALS_CHARACTERS.items():
        if (count := sum(vinyals_split(name) == part for name in names)) != wanted:
            raise UserError(f"{archives[0].parent}: {count} characters are {part} by name, not {wanted}; fetch them again")
    return {
        "images": torch.stack([drawings[name] for name in names]),
        "names": names,
        "lake": [lake[name] for name in names],
    }


def _decode(archive: Path, size: int) -> dict[str, dict[int, Tensor]]:
    """Every drawing of an archive, (size, size) uint8, by `Alphabet/characterNN` and by the drawing's number."""
    drawings: dict[str, dict[int, Tensor]] = {}
    member = None
    try:
        with zipfile.ZipFile(archive) as pack:
            for member in pack.namelist():
                if match := _MEMBER.fullmatch(member):
                    drawings.setdefault(match[1], {})[int(match[2])] = shrink(pack.read(member), size)
    except (zipfile.BadZipFile, OSError, SyntaxError, EOFError) as error:
        where = f"{archive}: {member}" if member else str(archive)
        raise UserError(f"{where} cannot be read ({error}); delete the archive to fetch it again") from None
    return drawings


def shrink(png: bytes, size: int) -> Tensor:
    """A drawing as (size, size) uint8, in grey levels: most strokes are thinner than a pixel of the small image.

    Bilinear with antialiasing: turning by right angles before or after makes one grey level of difference, no more.
    """
    with Image.open(io.BytesIO(png)) as image:
        return torch.from_numpy(np.array(image.convert("L").resize((size, size), Image.Resampling.BILINEAR)))
