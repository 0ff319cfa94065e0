"""The reader of folders with VOC XML files and no lists: images and annotations side by side or in folders of their own.

Parts are folders (train/a.jpg with train/a.xml, or images/train/a.jpg with annotations/train/a.xml).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repmet.data.files.names import composed
from repmet.data.files.pictures import is_image_file
from repmet.data.files.walk import files_below, say_once
from repmet.data.readers.image_ids import unique_ids
from repmet.data.readers.parts import dealt, folder_part, part_of
from repmet.data.readers.voc_annotation import ImageRecord, parse_xml, raise_problems, read_annotation
from repmet.wording import counted

_SHOWN = 3


@dataclass(frozen=True)
class VOCFolder:
    """The XML files and images below a folder, not read yet.

    Attributes:
        annotations: the XML files. images: by the (composed) name without suffix, the images of that name.
        parts: of each annotation, what its folders say.
    """

    root: Path
    annotations: tuple[Path, ...]
    images: dict[str, list[Path]]
    parts: tuple[str | None, ...]

    @property
    def in_parts(self) -> bool:
        """Whether every annotation lies in a part's folder, and they are not all of one part."""
        return None not in self.parts and len(set(self.parts)) > 1


def voc_folder(root: Path) -> VOCFolder:
    """What lies below a folder. Files of other kinds are not looked at."""
    files = files_below(root) if root.is_dir() else []
    images: dict[str, list[Path]] = {}
    for path in filter(is_image_file, files):
        images.setdefault(composed(path.stem), []).append(path)
    annotations = tuple(path for path in files if path.suffix.lower() == ".xml")
    return VOCFolder(root, annotations, images, tuple(folder_part(path, root) for path in annotations))


def read_voc_folder(folder: VOCFolder, image_set: str) -> list[ImageRecord]:
    """The images of `all`, of a part, or of `train` and `test` as dealt out where there are no parts.

    Raises:
        FileNotFoundError: no such part.
        ValueError: what is wrong with annotations, and images that are missing or meant twice, all in one message.
    """
    if image_set != "all" and not folder.in_parts and image_set not in ("train", "test"):
        raise FileNotFoundError(f"{folder.root}: a folder without lists has all, train and test, not {image_set!r}")
    wanted = part_of(image_set)
    if image_set != "all" and folder.in_parts and wanted not in folder.parts:
        parts = ", ".join(sorted(set(filter(None, folder.parts))))
        raise FileNotFoundError(f"{folder.root}: {image_set!r} is not one of its parts: {parts}")
    pairs, problems = _paired(folder)
    ids = unique_ids([composed(xml.stem) for xml, _, _ in pairs], [image for _, image, _ in pairs], folder.root)
    records = []
    for (xml, image, part), image_id in zip(pairs, ids, strict=True):
        if image_set != "all" and not (part == wanted if folder.in_parts else dealt(image_id, image_set)):
            continue
        record, wrong = read_annotation(xml, image, image_id)
        problems += wrong
        records += [record] if record is not None else []
    raise_problems(folder.root, problems)
    _tell_without_annotation(folder, {image for _, image, _ in pairs})
    return records


def _paired(folder: VOCFolder) -> tuple[list[tuple[Path, Path, str | None]], list[str]]:
    """(annotation, image, part) of every annotation that has an image of its own, and what is wrong with the others."""
    pairs, problems, foreign = [], [], []
    taken: dict[Path, Path] = {}
    for xml, part in zip(folder.annotations, folder.parts, strict=True):
        images = _images_of(xml, part, folder)
        if len(images) != 1 and _is_foreign(xml):
            foreign.append(xml)
        elif not images:
            problems.append(f"{xml}: there is no image of that name below {folder.root}")
        elif len(images) > 1:
            named = ", ".join(str(path.relative_to(folder.root)) for path in images[:_SHOWN])
            problems.append(f"{xml}: there are {len(images)} images of that name below {folder.root}: {named}")
        elif images[0] in taken:
            problems.append(f"{xml}: {taken[images[0]]} is an annotation of the same image, {images[0]}")
        else:
            taken[images[0]] = xml
            pairs.append((xml, images[0], part))
    if foreign:
        say_once(f"{folder.root}: passed over, no annotations: {counted(len(foreign), 'XML file')}, the first: {foreign[0]}")
    if not pairs and not problems:
        problems.append("none of its XML files is an annotation in VOC's layout")
    return pairs, problems


def _images_of(xml: Path, part: str | None, folder: VOCFolder) -> list[Path]:
    """The images that an annotation may mean: the one beside it, else in a folder parallel to its own, else anywhere; among
    several the one that it names itself."""
    images = folder.images.get(composed(xml.stem), [])
    allowed = [p for p in images if part is None or folder_part(p, folder.root) in (None, part)]
    for choice in (
        [p for p in images if p.parent == xml.parent],
        [p for p in allowed if _parallel(p.parent, xml.parent)],
        allowed,
    ):
        if len(choice) > 1:
            named = _named_by(xml)
            choice = [p for p in choice if composed(p.name) == named] or choice
        if choice:
            return choice
    return []


def _parallel(first: Path, second: Path) -> bool:
    """Whether two folders differ in one step of their way: images/day1 and annotations/day1."""
    steps, others = (tuple(map(composed, path.parts)) for path in (first, second))
    if len(steps) == len(others):
        return sum(a != b for a, b in zip(steps, others, strict=True)) == 1
    longer, shorter = sorted((steps, others), key=len, reverse=True)
    return any(longer[:k] + longer[k + 1 :] == shorter for k in range(len(longer)))


def _named_by(xml: Path) -> str | None:
    try:
        named = parse_xml(xml).findtext("filename") or ""
    except (OSError, ValueError):
        return None
    return composed(named).strip().replace("\\", "/").rpartition("/")[2] or None


def _is_foreign(xml: Path) -> bool:
    """Whether a file is whole XML and nothing of VOC's: a setting of some program."""
    try:
        root = parse_xml(xml)
    except (OSError, ValueError):
        return False
    return root.tag.lower() != "annotation" and root.find("object") is None and root.find("size") is None


def _tell_without_annotation(folder: VOCFolder, annotated: set[Path]) -> None:
    images: Sequence[Path] = [path for paths in folder.images.values() for path in paths]
    without = sorted(set(images) - annotated)
    if without:
        say_once(
            f"{folder.root}: passed over, without an annotation: {counted(len(without), 'image')}, the first: {without[0]}"
        )
