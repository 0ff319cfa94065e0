import pytest
import torch

from repmet.data.sources.omniglot import read as omniglot
from repmet.data.sources.omniglot_characters import read


def test_parts_are_disjoint_drawings_of_the_same_characters(repmet_data):
    sets = {split: read(repmet_data, split, characters=30, seed=3) for split in ("train", "val", "test")}
    train = sets["train"]
    assert len(train.classes) == 30 and all(part.classes == train.classes for part in sets.values())
    for split, number in (("train", 12), ("val", 3), ("test", 5)):
        assert sets[split].counts.tolist() == [number] * 30
    whole = omniglot(repmet_data, "background").of_classes(train.classes)
    for c in range(30):
        of_class = torch.cat([part.images[part.labels == c] for part in sets.values()]).flatten(1)
        drawings = whole.images[whole.labels == c].flatten(1)
        assert sorted(map(tuple, of_class.tolist())) == sorted(map(tuple, drawings.tolist()))


def test_trainval_is_both_and_a_seed_draws_others(repmet_data):
    both = read(repmet_data, "trainval", characters=5)
    assert both.counts.tolist() == [15] * 5
    assert read(repmet_data, "train", characters=5, seed=1).classes != both.classes
    assert len(read(repmet_data, "test", part="evaluation").classes) == 659


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"split": "trian"}, "no split 'trian'"),
        ({"part": "test"}, "part is background or evaluation, not 'test'"),
        ({"characters": 965}, "has 964 characters, not 965"),
        ({"train_per_class": 13}, "has 20 images; 21 are wanted"),
    ],
)
def test_what_is_refused(repmet_data, arguments, said):
    with pytest.raises(ValueError, match=said):
        read(repmet_data, **({"split": "train"} | arguments))
