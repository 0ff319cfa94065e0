"""Splits by seed: disjoint, complete where they say so, and the same on every machine."""

from pathlib import Path

import pytest
import torch

from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import carve_validation, check_files, check_size, check_split, seeded_order, split_each_class

NAMES = [f"{kind}{i}.jpg" for kind in "abc" for i in range(8)] + ["c8.jpg"]
SET = LabelledImages.of_names([name[0] for name in NAMES], paths=[Path(name) for name in NAMES])


def test_the_order_is_a_permutation_that_only_seed_and_names_decide():
    order = seeded_order(NAMES, 5)
    assert sorted(order) == list(range(len(NAMES)))
    turned = seeded_order(NAMES[::-1], 5)
    assert [NAMES[i] for i in order] == [NAMES[::-1][i] for i in turned]
    assert seeded_order(NAMES, 6) != order
    # Written down once: another machine or version has to agree.
    assert [NAMES[i] for i in seeded_order(NAMES[:6], 0)] == ["a2.jpg", "a3.jpg", "a4.jpg", "a5.jpg", "a0.jpg", "a1.jpg"]


def test_every_place_is_taken_equally_often():
    first = torch.bincount(torch.tensor([seeded_order(NAMES[:5], seed)[0] for seed in range(2000)]), minlength=5)
    assert (abs(first - 400) < 5 * 400**0.5).all()


def test_parts_are_disjoint_and_hold_so_many_of_each_class():
    parts = split_each_class(SET, {"test": 2, "val": 1, "train": 5}, NAMES, 0, "here")
    assert {part: len(indices) for part, indices in parts.items()} == {"test": 6, "val": 3, "train": 15}
    assert len(torch.cat(list(parts.values())).unique()) == 24  # one of class c is left over
    for part, number in {"test": 2, "val": 1, "train": 5}.items():
        assert SET.subset(parts[part]).counts.tolist() == [number] * 3
    fewer = split_each_class(SET, {"test": 2, "val": 3, "train": 1}, NAMES, 0, "here")
    assert torch.equal(fewer["test"], parts["test"])  # later numbers do not move earlier parts
    shuffled = SET.subset(torch.randperm(len(SET)))
    again = split_each_class(shuffled, {"test": 2}, [p.name for p in shuffled.paths], 0, "here")["test"]
    assert {shuffled.paths[i] for i in again} == {SET.paths[i] for i in parts["test"]}


def test_validation_is_carved_out_of_training():
    train, val = carve_validation(SET, 3, NAMES, 0, "here")
    assert sorted(train.tolist() + val.tolist()) == list(range(len(SET)))
    assert SET.subset(val).counts.tolist() == [3, 3, 3] and SET.subset(train).counts.tolist() == [5, 5, 6]


def test_too_few_images_name_the_class():
    with pytest.raises(ValueError, match=r"here: class 'a' has 8 images; 9 are wanted \(test 4, train 5\)"):
        split_each_class(SET, {"test": 4, "train": 5}, NAMES, 0, "here")
    with pytest.raises(ValueError, match="here: -1 images a class for test"):
        split_each_class(SET, {"test": -1}, NAMES, 0, "here")


def test_checks_of_what_is_published(tmp_path):
    check_size(SET, (25, 3), "Letters", "here")
    with pytest.raises(ValueError, match="here: Letters has 25 images of 3 classes, not 26 of 3; delete the folder"):
        check_size(SET, (26, 3), "Letters", "here")
    with pytest.raises(ValueError, match="Letters has no split 'tets'; there are: train, test"):
        check_split("tets", ("train", "test"), "Letters")
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ValueError, match=r"2 of the 3 images of Letters are missing, the first b\.jpg"):
        check_files([tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "c.jpg"], "Letters", tmp_path)
