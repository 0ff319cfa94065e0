"""The few-shot methods that work on images embedded once, each against its equation in a loop."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from episode_world import RULE, E, image, iou, supports_of, unit

from repmet.detection.embedding.embedded_image import METHODS
from repmet.detection.scoring.fewshot import FewShotRule, detect, support_representatives
from repmet.detection.scoring.methods import (
    SCORED,
    make_scorer,
    negative_embeddings,
    play_episode,
)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shot", [1, 2])
def test_the_methods_that_were_there_are_as_they_were(world, method, shot) -> None:
    episode, embedded, records = world
    played = play_episode(episode, shot, embedded, records, RULE, method)
    points = support_representatives(supports_of(episode, shot), embedded, records, RULE, method)
    slots = [embedded[image] for _, image in episode.slots]
    for a, b in zip(played, detect(slots, points, RULE, method), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    score = make_scorer(method, supports_of(episode, shot), embedded, records, RULE)
    best = max(row[1] for row in played[0])
    assert best == pytest.approx(float(score(embedded["q0"]).max()), abs=1e-6)


# --- negative representatives ----------------------------------------------------------------------------------------------


def test_negatives_are_what_nearly_is_the_object_and_no_other(world) -> None:
    _, embedded, records = world
    count = 0
    for name, r in records.items():
        for box in range(3):
            found = negative_embeddings(embedded[name], box, r, RULE)
            expected = [
                p
                for p, region in enumerate(embedded[name].proposals)
                if 0.2 <= iou(r.boxes[box], region) < 0.3 and all(iou(other, region) < 0.3 for other in r.boxes)
            ]
            assert torch.equal(found, embedded[name].embeddings["repmet"][expected])
            count += len(expected)
    assert count > 3


def test_np_repmet_by_a_loop(world) -> None:
    episode, embedded, records = world
    rule = FewShotRule(negative_weight=0.4, modes=50)  # so many that none is averaged
    got = make_scorer("np_repmet", supports_of(episode, 2), embedded, records, rule)(embedded["q0"])
    points, negatives = [], []
    for name in episode.classes:
        own, away = [], []
        for i, b in episode.support[name]:
            overlaps = [iou(records[i].boxes[b], p) for p in embedded[i].proposals]
            best = int(np.argmax(overlaps))
            ok = overlaps[best] >= 0.7
            own.append(embedded[i].embeddings["repmet"][best] if ok else embedded[i].annotated["repmet"][b])
            away += list(negative_embeddings(embedded[i], b, records[i], rule))
        points.append(own)
        negatives.append(away)
    assert all(negatives)
    for p, e in enumerate(embedded["q0"].embeddings["repmet"]):
        s = []
        for own, away in zip(points, negatives, strict=True):
            push = 0.4 * (2 - min(float(((e - a) ** 2).sum()) for a in away))
            d2 = [max(0.0, float(((e - o) ** 2).sum()) + push) for o in own]
            s.append(max(math.exp(-d / (2 * 0.5**2)) for d in d2))
        logits = np.array([*s, 1 - max(s)]) * 15
        expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        np.testing.assert_allclose(got[p], expected[:-1], atol=1e-4)


@pytest.mark.parametrize("columns", [0, 40])
@pytest.mark.parametrize("base", [None, unit(4, 3, E)])
def test_without_negatives_np_repmet_is_repmet(world, columns, base) -> None:
    episode, embedded, records = world
    rule = FewShotRule(negative_iou=(0.9999, 1.0), dummy_columns=columns)
    plain, with_none = (
        make_scorer(m, supports_of(episode, 1), embedded, records, rule, base)(embedded["q1"])
        for m in ("repmet", "np_repmet")
    )
    torch.testing.assert_close(plain, with_none)


# --- base classes that compete ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["repmet", "np_repmet", "calibrated", "baseline_roi", "baseline_untrained"])
def test_a_base_class_takes_its_own_regions_and_no_others(world, method) -> None:
    episode, embedded, records = world
    near = embedded["q0"].embeddings["repmet"][:1, None]  # a base class that is exactly the first proposal
    plain, competing = (
        make_scorer(method, supports_of(episode, 2), embedded, records, RULE, base)(embedded["q0"]) for base in (None, near)
    )
    if method.startswith("baseline"):  # it has no representatives in those spaces
        assert torch.equal(plain, competing)
    else:
        assert competing.shape == plain.shape and (competing[0] < plain[0]).all()
        own = embedded["q0"].embeddings["repmet"] @ near[0, 0]
        far = int(own.argmin())
        assert (plain - competing)[0].max() > 10 * (plain - competing)[far].abs().max()


# --- calibration -----------------------------------------------------------------------------------------------------------


def test_calibrated_scores_by_hand(world) -> None:
    episode, embedded, records = world
    rule = FewShotRule(calibration=0.3)
    score = {
        m: make_scorer(m, supports_of(episode, 2), embedded, records, rule)(embedded["q0"]) for m in ("repmet", "calibrated")
    }
    for c, name in enumerate(episode.classes):
        shown = []
        for i, b in episode.support[name]:
            overlaps = [iou(records[i].boxes[b], p) for p in embedded[i].proposals]
            best = int(np.argmax(overlaps))
            near = embedded[i].embeddings["baseline_roi"][best]
            shown.append(near if overlaps[best] >= 0.7 else embedded[i].annotated["baseline_roi"][b])
        mean = torch.stack(shown).mean(0)
        cosine = F.cosine_similarity(embedded["q0"].embeddings["baseline_roi"], mean[None])
        expected = 0.7 * score["repmet"][:, c] + 0.3 * cosine.clamp(min=0)
        torch.testing.assert_close(score["calibrated"][:, c], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", SCORED)
def test_every_method_plays_an_episode(world, method) -> None:
    episode, embedded, records = world
    found = play_episode(episode, 2, embedded, records, FewShotRule(objectness=True), method)
    assert len(found) == 2
    for rows in found:
        assert rows.shape[1] == 6 and set(rows[:, 0]) == {0, 1} and (rows[:, 1] >= 0).all() and (rows[:, 1] <= 1).all()


@pytest.mark.parametrize("method", SCORED)
def test_a_support_image_without_proposals_still_teaches(world, method) -> None:
    """The boxes themselves stand for the class, and there is nothing to take for a negative or for background."""
    episode, embedded, records = world
    empty = {name: image(count=0) for name in records}
    played = play_episode(episode, 2, embedded | empty, records, RULE, method)
    for rows in played:
        assert len(rows) and np.isfinite(rows).all() and (rows[:, 1] >= 0).all()
    for rows in play_episode(episode, 2, embedded | {"q0": image(count=0)}, records, RULE, method)[:1]:
        assert rows.shape == (0, 6)


def test_a_method_that_is_none(world) -> None:
    episode, embedded, records = world
    with pytest.raises(ValueError, match="no few-shot method 'np_repmt'; there are repmet"):
        make_scorer("np_repmt", supports_of(episode, 1), embedded, records, RULE)
