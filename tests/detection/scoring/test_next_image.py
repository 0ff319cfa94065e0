"""The image to mark next: doubt by hand, the least sure region, and no second image of the same look."""

import numpy as np
import pytest
from parts import parts

from repmet.detection.embedding.embedded_image import at_proposals
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.next_image import doubt, most_doubtful, next_images
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule


def test_doubt_is_the_variance_of_the_most_uncertain_finds() -> None:
    assert doubt(np.array([0.5, 1.0, 0.9])) == pytest.approx(0.25 + 0.09)
    assert doubt(np.full(30, 0.5)) == pytest.approx(2.5) and doubt(np.zeros(0)) == 0


def test_the_least_sure_region() -> None:
    data = parts()
    scorer = Method("logistic", FewShotRule()).learn(SupportSet(data.classes, data.marks(3, 0), data.records, data.embedded))
    image = data.embedded["q1"]
    sure = scorer.scores(image).amax(1)
    expected = image.embeddings["baseline_roi"][int((sure - 0.5).abs().argmin())]
    np.testing.assert_array_equal(most_doubtful(image, scorer), expected.numpy())
    empty = at_proposals(image, sure.argsort()[:0])
    assert not len(empty.boxes) and not most_doubtful(empty, scorer).any()


def test_what_is_doubtful_and_new_comes_first() -> None:
    looks = np.eye(3)[[0, 0, 1, 2]]
    seen = np.eye(3)[2:]  # the last image looks as what is marked
    assert next_images([1.0, 0.9, 0.5, 3.0], looks, seen, 2) == [0, 2]  # the second looks as the first
    assert sorted(next_images([1.0, 0.9, 0.5, 3.0], looks, seen, 9)) == [0, 1, 2, 3]
