"""Pascal VOC 2007 and 2012 as their makers publish them: fetched, unpacked, and counted.

M. Everingham, L. Van Gool, C. Williams, J. Winn, A. Zisserman: "The Pascal Visual Object Classes Challenge", IJCV 2010.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repmet.data.files.download import fetch
from repmet.data.files.extraction import extract
from repmet.data.readers.devkit import read_image_set
from repmet.errors import UserError

MIRRORS = ("http://host.robots.ox.ac.uk/pascal/VOC/voc{year}/{name}", "https://pjreddie.com/media/files/{name}")


@dataclass(frozen=True)
class Archive:
    """One published file and its checksum."""

    name: str
    md5: str


ARCHIVES = {
    "2007": (
        Archive("VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64"),
        Archive("VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f"),
    ),
    "2012": (Archive("VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd"),),
}
# Images and boxes of each image set, objects marked difficult not counted.
COUNTS = {
    "2007": {"train": (2501, 6301), "val": (2510, 6307), "trainval": (5011, 12608), "test": (4952, 12032)},
    "2012": {"train": (5717, 13609), "val": (5823, 13841), "trainval": (11540, 27450)},
}


def lay_out_voc(root: str | Path, years: Sequence[str | int], *, keep_archives: bool = False) -> Path:
    """Make sure that the full sets of `years` lie under `root/VOCdevkit`, and return that folder.

    A complete set that is there already is only counted. Raises ValueError where the folder holds other image sets (a
    subset, say) or the counts come out wrong, and whatever `fetch` and `extract` raise.
    """
    root = Path(root)
    years = [str(year) for year in years]
    if unknown := [year for year in years if year not in ARCHIVES]:
        raise UserError(f"VOC {', '.join(unknown)}: published in full with annotations are {', '.join(ARCHIVES)}")
    for year in years:
        folder = root / "VOCdevkit" / f"VOC{year}"
        _refuse_other_lists(folder, year)
        try:
            check_counts(folder, year)
            continue
        except (FileNotFoundError, ValueError):
            pass  # not there, or unpacked in part
        for archive in ARCHIVES[year]:
            urls = [mirror.format(year=year, name=archive.name) for mirror in MIRRORS]
            path = fetch(urls, root / archive.name, md5=archive.md5)
            extract(path, root)
        check_counts(folder, year)
        if not keep_archives:
            for archive in ARCHIVES[year]:
                (root / archive.name).unlink()
    return root / "VOCdevkit"


def check_counts(folder: str | Path, year: str) -> None:
    """Compare a devkit of one year with the published numbers of images and boxes.

    Raises ValueError that names every image set that differs, or what is broken; FileNotFoundError for a missing list.
    """
    folder = Path(folder)
    whole = "trainval+test" if "test" in COUNTS[year] else "trainval"
    boxes = {record.id: int((~record.difficult).sum()) for record in read_image_set(folder, whole)}
    wrong = []
    for image_set, wanted in COUNTS[year].items():
        ids = _listed(folder, image_set)
        counts = (len(ids), sum(boxes.get(image_id, 0) for image_id in ids))
        if counts != wanted:
            wrong.append(f"{image_set}: {counts[0]} images, {counts[1]} boxes instead of {wanted[0]}, {wanted[1]}")
    if wrong:
        raise UserError(f"{folder}: not the full VOC {year}: {'; '.join(wrong)}; delete the folder and lay it out again")


def _refuse_other_lists(folder: Path, year: str) -> None:
    """Never unpack over somebody's own selection of images."""
    for image_set, (images, _) in COUNTS[year].items():
        number = len(_listed(folder, image_set))
        if number not in (0, images):
            raise UserError(
                f"{folder}: its list {image_set} has {number} images, the full VOC {year} has {images}; "
                "give another --root, or delete the folder"
            )


def _listed(folder: Path, image_set: str) -> list[str]:
    """The image ids of a list, none where there is no such list."""
    path = folder / "ImageSets" / "Main" / f"{image_set}.txt"
    return path.read_text().split() if path.is_file() else []
