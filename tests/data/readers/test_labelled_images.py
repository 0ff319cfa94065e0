"""Labels follow from sorted names; what does not fit together is refused."""

from pathlib import Path

import pytest
import torch

from repmet.data.readers.labelled_images import LabelledImages

NAMES = ["rose", "daisy", "tulip", "daisy", "rose", "daisy"]


def images_of(n: int) -> torch.Tensor:
    return torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 1, 2, 2).contiguous()


def test_labels_follow_from_the_names_not_from_their_order():
    forward = LabelledImages.of_names(NAMES, images=images_of(6))
    backward = LabelledImages.of_names(NAMES[::-1], images=images_of(6).flip(0))
    assert forward.classes == backward.classes == ("daisy", "rose", "tulip")
    assert forward.labels.tolist() == [1, 0, 2, 0, 1, 0] == backward.labels.flip(0).tolist()
    assert forward.counts.tolist() == [3, 2, 1] and len(forward) == 6


def test_a_subset_keeps_the_classes():
    part = LabelledImages.of_names(NAMES, images=images_of(6)).subset([3, 0])
    assert part.images[:, 0, 0, 0].tolist() == [3, 0] and part.labels.tolist() == [0, 1]
    assert part.classes == ("daisy", "rose", "tulip") and part.counts.tolist() == [1, 1, 0]
    files = LabelledImages.of_names(NAMES, paths=[Path(f"{i}.jpg") for i in range(6)]).subset(torch.tensor([5]))
    assert files.paths == (Path("5.jpg"),) and files.images is None


def test_some_classes_are_labelled_anew():
    part = LabelledImages.of_names(NAMES, images=images_of(6)).of_classes(["tulip", "daisy"])
    assert part.classes == ("daisy", "tulip") and part.labels.tolist() == [0, 1, 0, 0]
    assert part.images[:, 0, 0, 0].tolist() == [1, 2, 3, 5]
    with pytest.raises(ValueError, match="no class 'lily'; there are 2: daisy, tulip"):
        part.of_classes(["lily"])
    with pytest.raises(ValueError, match="named twice: daisy, daisy"):
        part.of_classes(["daisy", "daisy"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("b", "a")}, "must be sorted and differ, got 'b', 'a'"),
        ({"classes": ("a", "a")}, "must be sorted and differ"),
        ({"labels": torch.tensor([0, 2, 1])}, "labels run from 0 to 2, 2 classes have 0 to 1"),
        ({"labels": torch.tensor([0, -1, 1])}, "labels run from -1 to 1"),
        ({"labels": torch.tensor([0.0, 1.0, 1.0])}, r"int64 \(n,\), got torch.float32 \(3,\)"),
        ({"labels": torch.tensor([0, 1])}, "3 images and 2 labels"),
        ({"images": torch.zeros(3, 2, 2, dtype=torch.uint8)}, r"uint8 \(n, C, H, W\), got torch.uint8 \(3, 2, 2\)"),
        ({"images": torch.zeros(3, 1, 2, 2)}, "got torch.float32"),
        ({"images": None}, "either images or paths"),
        ({"paths": (Path("a"), Path("b"), Path("c"))}, "either images or paths"),
        ({"images": None, "paths": (Path("a"),)}, "1 images and 3 labels"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    whole = {"labels": torch.tensor([0, 1, 1]), "classes": ("a", "b"), "images": images_of(3)}
    LabelledImages(**whole)
    with pytest.raises(ValueError, match=message):
        LabelledImages(**whole | change)
