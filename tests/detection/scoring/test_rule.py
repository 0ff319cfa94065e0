"""The rule of an evaluation: the published defaults, and that it refuses what cannot be."""

import math

import pytest
from mmengine.config import Config

from repmet.detection.scoring.rule import FewShotRule, few_shot_rule


def test_the_published_rule_is_the_default():
    rule = FewShotRule()
    assert (rule.sigma, rule.scale, rule.support_iou, rule.support_rois, rule.nms) == (0.5, 15.0, 0.7, 1, 0.3)
    assert rule.dummy_columns == 0 and rule.modes is None and not rule.objectness


@pytest.mark.parametrize(
    ("name", "values"),
    list(
        {
            "sigma": [0, -0.5, math.nan, math.inf, "wide", True],
            "scale": [0, -1],
            "cosine_scale": [0.0],
            "support_iou": [0, 1.01, -0.7, "0.7"],
            "support_rois": [0, 1.5, -1, True],
            "support_views": [0, 3, 4],
            "support_scales": [[], [0.5, 2], [1, 0], [1, 1.0], 1, [1, "2"]],
            "modes": [0, -3, 2.0],
            "nms": [-0.1, 1.1, None],
            "dummy_columns": [-1, 0.5],
            "base_columns": ["no", 1],
            "objectness": [None, "yes", -1, float("nan")],
            "negative_iou": [(0.3, 0.2), (0.2, 0.2), (-0.1, 0.3), (0.2, 1.1), (0.2,), 0.2, ("a", "b"), None],
            "negative_weight": [-0.1],
            "calibration": [7, -0.01, math.nan],
            "classifier_decay": [-1e-3],
        }.items()
    ),
)
def test_what_cannot_be_is_refused_by_name(name, values) -> None:
    for value in values:
        with pytest.raises(ValueError, match=rf"^episodes\.{name} is .*, not "):
            FewShotRule(**{name: value})


def test_the_ends_of_the_ranges_are_in_them() -> None:
    FewShotRule(support_iou=None, modes=None, nms=0, calibration=0, negative_weight=0, classifier_decay=0)
    FewShotRule(support_iou=1.0, modes=1, nms=1, calibration=1, negative_iou=(0, 1), support_views=8)


def test_an_experiments_section_and_the_heads_own_values() -> None:
    head = {"sigma": 0.7, "scale": 3.0, "margin": 0.1}
    cfg = Config(
        {"model": {"roi_head": {"bbox_head": head}}, "episodes": {"negative_iou": [0.1, 0.4], "way": 5, "modes": 2}}
    )
    assert few_shot_rule(cfg) == FewShotRule(sigma=0.7, scale=3.0, negative_iou=(0.1, 0.4), modes=2)
    cfg.episodes.calibration = 7
    with pytest.raises(ValueError, match=r"episodes\.calibration is a number in \[0, 1\], not 7"):
        few_shot_rule(cfg)
