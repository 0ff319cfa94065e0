"""Two folders of class folders on disk, one to train on and one to evaluate: what every few-shot library can read."""

import re
import zipfile
from pathlib import Path

from PIL import Image

from repmet.data.generated.glyph_characters import read as read_glyphs

SETS = {"train": "background", "test": "evaluation"}  # of Omniglot: Lake's two parts, 964 and 659 characters
_MEMBER = re.compile(r"images_\w+/(?P<alphabet>[^/]+)/(?P<character>character\d+)/(?P<file>\d+_\d+\.png)")


def lay_out(data: str | Path | None, folder: Path) -> str:
    """Fills `folder/train` and `folder/test`, from Omniglot where `data` holds both its archives.

    Returns:
        What the images are, for the record.
    """
    archives = {split: _archive(Path(data), part) for split, part in SETS.items()} if data else {}
    if not archives or None in archives.values():
        glyphs(folder)
        return "generated characters"
    for split, archive in archives.items():
        with zipfile.ZipFile(archive) as pack:
            for member in pack.namelist():
                if match := _MEMBER.fullmatch(member):
                    target = folder / split / f"{match['alphabet']}_{match['character']}" / match["file"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(pack.read(member))
    return "Omniglot"


def glyphs(folder: Path, characters: int = 200, per_class: int = 20, size: int = 105) -> None:
    """Generated characters in the same form, dark on white, for machines without Omniglot."""
    for split in SETS:
        drawn = read_glyphs(None, split, characters=characters, per_class=per_class, size=size)
        for i, (image, label) in enumerate(zip(drawn.images, drawn.labels.tolist(), strict=True)):
            target = folder / split / drawn.classes[label] / f"{i:06d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(255 - image[0].numpy()).save(target)


def _archive(data: Path, part: str) -> Path | None:
    name = f"images_{part}.zip"
    places = [data / name, data / f"omniglot_{name}", data / "omniglot-py" / name]
    return next((place for place in places if place.is_file()), None)
