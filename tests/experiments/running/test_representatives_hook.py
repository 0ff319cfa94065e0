"""Statistics of representatives against loops over their definition."""

import pytest
import torch

from repmet.experiments.running.representatives_hook import RepresentativesHook, representative_statistics


def test_statistics_equal_a_naive_loop():
    weight = torch.randn(4, 3, 5, dtype=torch.float64)
    got = representative_statistics(weight)
    between = [
        (weight[i, k] - weight[j, m]).norm().item()
        for i in range(4) for j in range(4) if i != j for k in range(3) for m in range(3)
    ]  # fmt: skip
    spread = [(weight[i, k] - weight[i].mean(0)).norm().item() for i in range(4) for k in range(3)]
    norms = [weight[i, k].norm().item() for i in range(4) for k in range(3)]
    assert got == pytest.approx(
        {
            "norm": sum(norms) / 12,
            "mode_spread": sum(spread) / 12,
            "class_distance_min": min(between),
            "class_distance_mean": sum(between) / len(between),
        },
        rel=1e-5,
    )


def test_one_class_has_no_distances():
    assert representative_statistics(torch.tensor([[[3.0, 4.0]]])) == {"norm": 5.0, "mode_spread": 0.0}


def test_bad_interval():
    with pytest.raises(ValueError, match="interval is 0"):
        RepresentativesHook(interval=0)
