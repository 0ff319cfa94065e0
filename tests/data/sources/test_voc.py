"""Pascal VOC itself: the splits that come along, and real images in its layout."""

from collections import Counter

import numpy as np

from repmet.data.sources.voc import CLASS_LISTS, NOVEL_SPLITS, VOC_CLASSES, read_class_list, read_image_set


def test_the_lists_that_come_along_are_the_splits():
    assert len(VOC_CLASSES) == len(set(VOC_CLASSES)) == 20 and list(VOC_CLASSES) == sorted(VOC_CLASSES)
    assert read_class_list("voc.txt") == VOC_CLASSES
    for number, novel in NOVEL_SPLITS.items():
        assert read_class_list(f"voc_novel_{number}.txt") == novel
        base = read_class_list(f"voc_base_{number}.txt")
        assert len(base) == 15 and set(base) | set(novel) == set(VOC_CLASSES)
    for path in CLASS_LISTS.glob("voc*.txt"):
        assert set(read_class_list(path)) <= set(VOC_CLASSES)


def test_foreign_objects_on_tarmac(repmet_data):
    root = repmet_data / "FOD-A"
    classes = read_class_list("classes_base.txt", root) + read_class_list("classes_novel.txt", root)
    train = read_image_set(root, "train", classes=classes)
    test = read_image_set(root, "test", classes=classes)
    assert (len(train), len(test), len(classes)) == (1240, 620, 31)
    boxes = np.concatenate([r.boxes for r in train])
    assert boxes.min() >= 0 and boxes.max() <= 300 and (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes % 1 != 0).any()  # fractions survive


def test_real_voc_images(repmet_data):
    trainval = read_image_set(repmet_data, "2007_trainval")
    test = read_image_set(repmet_data / "VOCdevkit", "2007_test", decode=True)
    assert (len(trainval), len(test)) == (491, 486)
    images = Counter(name for r in trainval + test for name in set(r.names))
    assert (images["car"], images["person"], images["motorbike"], images["cow"], images["tvmonitor"]) == (
        365,
        300,
        56,
        2,
        25,
    )
    assert any(r.difficult.any() for r in trainval)
    first = next(r for r in test if r.id == "000001")
    assert first.names == ("dog", "person")
    assert first.boxes.tolist() == [[47, 239, 194, 370], [7, 11, 351, 497]]
