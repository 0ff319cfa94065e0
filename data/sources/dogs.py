"""Stanford Dogs: 20,580 photographs of 120 breeds from ImageNet, 100 of each to train.

A. Khosla, N. Jayadevaprakash, B. Yao, L. Fei-Fei: "Novel dataset for fine-grained image categorization", 2011. It has no
validation set: one is carved out of the training images by seed.
"""

import shutil
from pathlib import Path

from repmet.data.files.download import fetch
from repmet.data.files.extraction import extract
from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import carve_validation, check_files, check_size, check_split

ADDRESS = "http://vision.stanford.edu/aditya86/ImageNetDogs/{name}"
# SHA-256 and bytes. Its makers publish none; these are those that TensorFlow Datasets records (url_checksums).
ARCHIVES = {
    "lists.tar": ("34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c", 481_280),
    "images.tar": ("a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58", 793_579_520),
}
CONTENTS = {"lists.tar": ("train_list.mat", "test_list.mat"), "images.tar": ("Images",)}
SIZES = {"trainval": (12_000, 120), "test": (8_580, 120)}
SPLITS = ("train", "val", "trainval", "test")
_LISTS = {"trainval": "train_list.mat", "test": "test_list.mat"}


def read(root: str | Path, split: str, *, val_per_class: int = 20, seed: int = 0) -> LabelledImages:
    """One split of Stanford Dogs, as files; downloaded to `root/stanford-dogs` where it is not there.

    Args:
        root: the folder above `stanford-dogs`.
        split: `train` and `val` are disjoint and make up `trainval`, the official training images; `test`.
        val_per_class: images of each breed in `val`. seed: draws them.

    Returns:
        Files, classes named as their folders (`n02085620-Chihuahua`).

    Raises:
        ValueError: unknown split, missing files, wrong number of images or checksum. ConnectionError: it cannot be
            downloaded. OSError: the disk is full.
    """
    check_split(split, SPLITS, "Stanford Dogs")
    folder = lay_out_dogs(Path(root) / "stanford-dogs")
    official = "test" if split == "test" else "trainval"
    names = _listed(folder / _LISTS[official])
    paths = [folder / "Images" / name for name in names]
    check_files(paths, f"Stanford Dogs {official}", folder)
    images = LabelledImages.of_names([path.parent.name for path in paths], paths=paths)
    check_size(images, SIZES[official], f"Stanford Dogs {official}", folder)
    if split == official:
        return images
    train, val = carve_validation(images, val_per_class, names, seed, folder)
    return images.subset(val if split == "val" else train)


def lay_out_dogs(folder: Path) -> Path:
    """Fetches and unpacks what is not there: `Images/<breed>/*.jpg`, train_list.mat and test_list.mat. Returns `folder`.

    An archive is unpacked aside, moved to its place when that is done, and deleted.
    """
    for name, (sha256, size) in ARCHIVES.items():
        if all((folder / member).exists() for member in CONTENTS[name]):
            continue
        archive = fetch(ADDRESS.format(name=name), folder / name, sha256=sha256, size=size)
        aside = folder / f"{name}.unpacking"
        shutil.rmtree(aside, ignore_errors=True)  # of an unpacking that was interrupted
        extract(archive, aside)
        for member in CONTENTS[name]:
            if not (folder / member).exists():
                (aside / member).rename(folder / member)
        shutil.rmtree(aside)
        archive.unlink()
    return folder


def _listed(path: Path) -> list[str]:
    """The files of one of the lists, `breed/name.jpg`."""
    from scipy.io import loadmat

    return [str(name) for name in loadmat(path, squeeze_me=True)["file_list"]]
