"""Groups of classes by their names, and episodes that stay within one."""

import pytest
import torch

from repmet.classification.inputs.dataset import ImageSet
from repmet.classification.inputs.groups import class_groups
from repmet.classification.protocols.evaluation import draw_episodes
from repmet.data.readers.labelled_images import LabelledImages

CLASSES = ("Futurama/a", "Futurama/b", "Greek/a/rot000", "Greek/a/rot090", "Greek/b/rot000")


def test_a_group_is_what_stands_before_the_first_slash():
    assert class_groups(CLASSES).tolist() == [0, 0, 1, 1, 1]
    with pytest.raises(ValueError, match="class 'b' is of no group"):
        class_groups(("A/a", "b"))


def test_the_episodes_of_an_evaluation_stay_within_a_group():
    labels = torch.arange(5).repeat_interleave(4)
    images = ImageSet(LabelledImages(labels, CLASSES, torch.zeros(20, 1, 2, 2, dtype=torch.uint8)))
    protocol = {"way": 2, "shot": 1, "query": 2, "episodes": 200, "seed": 3}
    (within,) = draw_episodes(images, protocol | {"within_groups": True}).values()
    groups = class_groups(CLASSES)[within.classes.long()]
    assert (groups[:, 0] == groups[:, 1]).all() and set(groups[:, 0].tolist()) == {0, 1}
    (anywhere,) = draw_episodes(images, protocol).values()
    groups = class_groups(CLASSES)[anywhere.classes.long()]
    assert (groups[:, 0] != groups[:, 1]).any()
