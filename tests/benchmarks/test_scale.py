"""The benchmark of many classes: what it detects among, and that a photograph's time stands beside that of one class."""

import numpy as np
import pytest

from repmet.benchmarks.scale import LEAST, PEER, learnt, looked_at, scale_cases
from repmet.detection.shipped import SHIPPED


def test_every_class_can_be_found() -> None:
    detections, nearest = learnt(5, 3).detect(looked_at(), np.full(5, LEAST))
    assert set(detections.labels) == set(range(5)) and (nearest // 3 == detections.labels).all()


@pytest.mark.skipif(not SHIPPED.is_file(), reason="no weights ship with this copy")
def test_a_photograph_is_timed_with_few_classes_and_many() -> None:
    (row,) = scale_cases(0.01, ((20, 2),))
    assert row.case == "20 classes, 2 supports each" and row.peer == PEER
    assert row.ours_ms > 1 and row.peer_ms > 1 and row.ratio > 0.2
