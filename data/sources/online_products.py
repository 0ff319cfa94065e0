"""Stanford Online Products: 120,053 pictures of 22,634 things for sale, of 12 kinds; half of them to train on.

H. Oh Song, Y. Xiang, S. Jegelka, S. Savarese, CVPR 2016. It is not downloaded: lay out
`online_products/images/<kind>_final/*.JPG` and `online_products/Info_Files/Ebay_train.txt` and `Ebay_test.txt`.
"""

from pathlib import Path

from repmet.data.files.text import read_text
from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import check_files, check_split
from repmet.data.sources.class_halves import SPLITS, carve
from repmet.errors import UserError

FOLDER = "online_products"
_LISTS = {"trainval": "Ebay_train.txt", "test": "Ebay_test.txt"}


def read(
    root: str | Path, split: str, *, folder: str = FOLDER, val_share: float = 0.0, val_by: str = "class", seed: int = 0
) -> LabelledImages:
    """One split, as files: `trainval` and `test` are the published lists, `train` and `val` parts of the first.

    Args:
        root: the folder above `folder`. val_share, val_by, seed: see `class_halves.carve`.

    Returns:
        Classes named `<kind>/<class id>`, such as `bicycle/00001`, so that a sampler can go by kind.

    Raises:
        FileNotFoundError: a list is not there. ValueError: a malformed line (with its number), a missing image, and what
            `carve` refuses.
    """
    check_split(split, SPLITS, "Stanford Online Products")
    place = Path(root) / folder
    official = "test" if split == "test" else "trainval"
    names, paths = _listed(place, _LISTS[official])
    check_files(paths, f"Stanford Online Products {official}", place)
    images = LabelledImages.of_names(names, paths=paths)
    if split == official:
        return images
    return carve(images, split, place, val_share=val_share, val_by=val_by, seed=seed)


def _listed(place: Path, name: str) -> tuple[list[str], list[Path]]:
    """Class names and files of a list: after a heading, lines `image_id class_id super_class_id path`."""
    path = place / "Info_Files" / name
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list of Stanford Online Products")
    names, paths = [], []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        fields = line.split()
        if not fields or (number == 1 and fields[0] == "image_id"):
            continue
        if len(fields) != 4 or not fields[1].isdigit() or ".." in Path(fields[3]).parts or Path(fields[3]).is_absolute():
            raise UserError(f"{path}, line {number}: should be `image_id class_id super_class_id path`, not {line!r}")
        kind = Path(fields[3]).parent.name.removesuffix("_final")
        names.append(f"{kind}/{int(fields[1]):05d}")
        paths.append(place / "images" / fields[3])
    if not names:
        raise UserError(f"{path}: lists no image")
    return names, paths
