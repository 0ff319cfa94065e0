"""What a class is shown by: annotated images in any layout, or crops of objects sorted into folders named for the class."""

from pathlib import Path

import numpy as np
from PIL import Image

from repmet.data.files.pictures import UnreadableImage, image_size, is_image_file, open_rgb
from repmet.data.files.saved_pictures import save_picture
from repmet.data.files.walk import entries, images_in
from repmet.data.readers.annotated_folder import is_annotated, is_devkit, read_images, strange_json
from repmet.data.readers.class_folders import class_folders
from repmet.data.readers.devkit import list_files
from repmet.data.readers.voc_annotation import ImageRecord, check_image, raise_problems
from repmet.detection.episodes.doubled_marks import each_mark_once
from repmet.detection.episodes.odd_marks import say_odd_marks
from repmet.errors import UserError

SHARE = 3  # a crop fills a third of its canvas, about as an object fills a scene
LONGEST = 2048  # pixels of a crop; a larger one is scaled down, as no detector sees more of it


def read_support(path: str | Path, scratch: str | Path) -> list[ImageRecord]:
    """The support images with their boxes, each box once.

    Args:
        path: a folder or file as `data.readers.annotated_folder.read_images` takes (of a devkit its only list, or `train`),
            or a folder of class folders of crops. A crop is put on a plain canvas of the colour of its border, `SHARE`
            times as large: a detector that looks at scenes has never seen an object fill the view.
        scratch: a folder to write such canvases to.

    Raises:
        FileNotFoundError: there is neither.
        ValueError: what is wrong with images and boxes, or that no object is marked.
    """
    path = Path(path)
    if path.is_file() and is_image_file(path):
        raise UserError(
            f"{path}: a photo alone does not say where its objects are. Give a folder of photos with marked boxes (VOC XML "
            "files beside them, or a COCO JSON file), or crops of the objects in a folder for each class"
        )
    if path.is_file() and path.suffix.lower() in (".pth", ".pt", ".repmet"):
        raise UserError(f"{path}: holds what was learnt, and no images; name the folder of marked images or crops itself")
    if is_annotated(path):
        records = read_images(path, _devkit_list(path) if is_devkit(path) else "all")
    else:
        records = _crops(path, Path(scratch))
    if not any(not hard for r in records for hard in r.difficult):
        raise UserError(f"{path}: no object is marked (difficult ones do not count): there is nothing to learn from")
    records = each_mark_once(records, path)
    say_odd_marks(records)
    return records


def _whole(where: object, files: list[tuple[str, Path]]) -> list[ImageRecord]:
    """Records without boxes of (id, file), each file looked at."""
    records, problems = [], []
    for name, file in files:
        try:
            width, height = image_size(file)
        except UnreadableImage as error:
            problems.append(str(error))
            continue
        record = ImageRecord(name, file, width, height, (), np.empty((0, 4), np.float32), np.empty(0, bool))
        problem = check_image(record)
        problems += [problem] if problem else []
        records.append(record)
    raise_problems(where, problems)
    return records


def _devkit_list(root: Path) -> str:
    """The list that a devkit's supports are taken from."""
    if not (root / "ImageSets" / "Main").is_dir():
        raise UserError(f"{root}: holds devkits of several years; supports are taken from the folder of one")
    lists = list_files(root)
    if len(lists) == 1 or "train" in lists:
        return lists[0] if len(lists) == 1 else "train"
    raise UserError(f"{root}: supports are taken from a devkit's only list or from `train`; it has {', '.join(lists)}")


def _crops_in(folder: Path) -> list[Path]:
    """The images in a class's folder; with annotations beside them they are photographs, and no crops of its objects."""
    images = images_in(folder)
    stems = {image.stem: image for image in images}
    for path in entries(folder):
        if path.suffix.lower() == ".json" and path.stem in stems:
            raise UserError(
                f"{path}: lies beside {stems[path.stem].name} as its annotation, in a layout that is not read; export the "
                "set as COCO or VOC, or take it away if these are crops of one class"
            )
    return images


def _fitting(crop: Image.Image, path: Path) -> Image.Image:
    """A crop whose canvas fits into memory."""
    scale = min(1.0, LONGEST / max(crop.size))
    if min(crop.size) * scale < 1:
        raise UserError(f"{path}: too odd an image to show a class ({crop.width}x{crop.height})")
    return crop if scale == 1 else crop.resize((round(crop.width * scale), round(crop.height * scale)))


def _crops(root: Path, scratch: Path) -> list[ImageRecord]:
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder or file of supports")
    folders = class_folders(root)
    files = [(name, path) for name, folder in folders.items() for path in _crops_in(folder)]
    if empty := sorted(folders.keys() - {name for name, _ in files}):
        raise UserError(f"{root}: no image in the class folder {', '.join(empty)}")
    if not files:
        raise FileNotFoundError(
            f"{root}: no supports are there. Put images with VOC XML files, a COCO JSON file or YOLO's data.yaml into it, "
            f"or crops of the objects into a folder for each class{strange_json(root)}"
        )
    records = []
    for number, whole in enumerate(_whole(root, [(str(p), p) for _, p in files])):
        crop = _fitting(open_rgb(whole.path), whole.path)
        pixels = np.asarray(crop)
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])  # (b, 3)
        side = SHARE * max(crop.size)
        canvas = Image.new("RGB", (side, side), tuple(int(v) for v in np.median(border, 0)))
        left, top = (side - crop.width) // 2, (side - crop.height) // 2
        canvas.paste(crop, (left, top))
        path = scratch / f"crop_{number:05d}.png"
        save_picture(canvas, path)
        box = np.array([[left, top, left + crop.width, top + crop.height]], np.float32)
        records.append(ImageRecord(whole.id, path, side, side, (files[number][0],), box, np.zeros(1, bool)))
    return records
