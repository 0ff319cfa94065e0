"""The few-shot methods that work on images embedded once, each against its equation in a loop."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from episode_world import RULE, E, image, iou, supports_of, unit

from repmet.detection.embedding.embedded_image import SPACES
from repmet.detection.scoring.methods import METHODS, Method, NearestRepresentative
from repmet.detection.scoring.negatives import negative_embeddings
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.scorer import restored


def play(world, shot, rule, name):
    """What a method finds on every query slot of the episode."""
    episode, embedded, _ = world
    return Method(name, rule).detect(supports_of(world, shot), [embedded[name] for _, name in episode.slots])


@pytest.mark.parametrize("method", SPACES)
@pytest.mark.parametrize("shot", [1, 2])
def test_the_methods_that_were_there_are_as_they_were(world, method, shot) -> None:
    episode, embedded, _ = world
    supports = supports_of(world, shot)
    played = play(world, shot, RULE, method)
    scorer = NearestRepresentative(rule=RULE, representatives=supports.representatives(RULE, method), space=method)
    for a, b in zip(played, scorer.detect([embedded[name] for _, name in episode.slots]), strict=True):
        assert a.labels.tolist() == b.labels.tolist()
        np.testing.assert_allclose(a.scores, b.scores, rtol=1e-5)
        np.testing.assert_array_equal(a.boxes, b.boxes)
    scores = Method(method, RULE).learn(supports).scores(embedded["q0"])
    assert played[0].scores.max() == pytest.approx(float(scores.max()), abs=1e-6)


# --- negative representatives ----------------------------------------------------------------------------------------------


def test_negatives_are_what_nearly_is_the_object_and_no_other(world) -> None:
    _, embedded, records = world
    count = 0
    for name, r in records.items():
        for box in range(3):
            negatives = negative_embeddings(embedded[name], box, r, RULE)
            expected = [
                p
                for p, region in enumerate(embedded[name].proposals)
                if 0.2 <= iou(r.boxes[box], region) < 0.3 and all(iou(other, region) < 0.3 for other in r.boxes)
            ]
            assert torch.equal(negatives, embedded[name].embeddings["repmet"][expected])
            count += len(expected)
    assert count > 3


def test_np_repmet_by_a_loop(world) -> None:
    episode, embedded, records = world
    rule = FewShotRule(negative_weight=0.4, modes=50)  # so many that none is averaged
    got = Method("np_repmet", rule).learn(supports_of(world, 2)).scores(embedded["q0"])
    points, negatives = [], []
    for name in episode.classes:
        of_class, away = [], []
        for i, b in episode.support[name]:
            overlaps = [iou(records[i].boxes[b], p) for p in embedded[i].proposals]
            best = int(np.argmax(overlaps))
            ok = overlaps[best] >= 0.7
            of_class.append(embedded[i].embeddings["repmet"][best] if ok else embedded[i].annotated["repmet"][b])
            away += list(negative_embeddings(embedded[i], b, records[i], rule))
        points.append(of_class)
        negatives.append(away)
    assert all(negatives)
    for p, e in enumerate(embedded["q0"].embeddings["repmet"]):
        s = []
        for of_class, away in zip(points, negatives, strict=True):
            push = 0.4 * (2 - min(float(((e - a) ** 2).sum()) for a in away))
            d2 = [max(0.0, float(((e - o) ** 2).sum()) + push) for o in of_class]
            s.append(max(math.exp(-d / (2 * 0.5**2)) for d in d2))
        logits = np.array([*s, 1 - max(s)]) * 15
        expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        np.testing.assert_allclose(got[p], expected[:-1], atol=1e-4)


@pytest.mark.parametrize("columns", [0, 40])
@pytest.mark.parametrize("base", [None, unit(4, 3, E)])
def test_without_negatives_np_repmet_is_repmet(world, columns, base) -> None:
    _, embedded, _ = world
    rule = FewShotRule(negative_iou=(0.9999, 1.0), dummy_columns=columns)
    plain, with_none = (
        Method(m, rule, base).learn(supports_of(world, 1)).scores(embedded["q1"]) for m in ("repmet", "np_repmet")
    )
    torch.testing.assert_close(plain, with_none)


# --- base classes that compete ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["repmet", "np_repmet", "calibrated", "baseline_roi", "baseline_untrained"])
def test_a_base_class_takes_its_own_regions_and_no_others(world, method) -> None:
    _, embedded, _ = world
    near = embedded["q0"].embeddings["repmet"][:1, None]  # a base class that is exactly the first proposal
    plain, competing = (
        Method(method, RULE, base).learn(supports_of(world, 2)).scores(embedded["q0"]) for base in (None, near)
    )
    if method.startswith("baseline"):  # it has no representatives in those spaces
        assert torch.equal(plain, competing)
    else:
        assert competing.shape == plain.shape and (competing[0] < plain[0]).all()
        cosines = embedded["q0"].embeddings["repmet"] @ near[0, 0]
        far = int(cosines.argmin())
        assert (plain - competing)[0].max() > 10 * (plain - competing)[far].abs().max()


# --- calibration -----------------------------------------------------------------------------------------------------------


def test_calibrated_scores_by_hand(world) -> None:
    episode, embedded, records = world
    rule = FewShotRule(calibration=0.3)
    score = {m: Method(m, rule).learn(supports_of(world, 2)).scores(embedded["q0"]) for m in ("repmet", "calibrated")}
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


@pytest.mark.parametrize("method", METHODS)
def test_every_method_plays_an_episode(world, method) -> None:
    results = play(world, 2, FewShotRule(objectness=True), method)
    assert len(results) == 2
    for result in results:
        assert set(result.labels) == {0, 1} and (result.scores >= 0).all() and (result.scores <= 1).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_support_image_without_proposals_still_teaches(world, method) -> None:
    """The boxes themselves stand for the class, and there is nothing to take for a negative or for background."""
    episode, embedded, records = world
    empty = embedded | {name: image(count=0) for name in records}
    for result in play((episode, empty, records), 2, RULE, method):
        assert len(result) and np.isfinite(result.scores).all() and (result.scores >= 0).all()
    assert len(play((episode, embedded | {"q0": image(count=0)}, records), 2, RULE, method)[0]) == 0


def test_a_method_that_is_none() -> None:
    with pytest.raises(ValueError, match="no few-shot method 'np_repmt'; there are repmet"):
        Method("np_repmt", RULE)


# --- what was learnt, kept -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [None, unit(4, 3, E)], ids=["alone", "with-base"])
@pytest.mark.parametrize("method", METHODS)
def test_a_scorer_comes_back_from_its_file(world, method, base, tmp_path) -> None:
    """Through a file of tensors and plain values, without the supports."""
    _, embedded, _ = world
    scorer = Method(method, FewShotRule(calibration=0.25, dummy_columns=3), base).learn(supports_of(world, 2))
    torch.save(scorer.state(), tmp_path / "scorer.pth")
    again = restored(torch.load(tmp_path / "scorer.pth", weights_only=True))
    assert type(again) is type(scorer) and again.rule == scorer.rule
    assert torch.equal(again.scores(embedded["q0"]), scorer.scores(embedded["q0"]))


def test_a_state_of_something_else_is_refused(world) -> None:
    state = Method("repmet", RULE).learn(supports_of(world, 1)).state()
    with pytest.raises(ValueError, match="no kind of scorer 'Oracle'; there are Calibrated, LastLayer"):
        restored(state | {"kind": "Oracle"})
    with pytest.raises(ValueError, match="not the state of a LastLayer"):
        restored(state | {"kind": "LastLayer"})
    with pytest.raises(ValueError, match=r"episodes\.sigma is a number above 0"):
        restored(state | {"rule": state["rule"] | {"sigma": -1}})


def test_the_images_of_a_support_set_in_the_order_of_their_classes() -> None:
    supports = SupportSet(("cat", "dog"), [[("b", 2), ("a", 0)], [("a", 1), ("c", 0), ("b", 0)]], {}, {})
    assert (len(supports), supports.shot) == (2, 3)
    assert supports.by_image == {"b": {2: 0, 0: 1}, "a": {0: 0, 1: 1}, "c": {0: 1}}
    assert list(supports.by_image) == ["b", "a", "c"]
