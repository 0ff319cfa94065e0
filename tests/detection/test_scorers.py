"""The few-shot methods that work on images embedded once, each against its equation in a loop."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

import detection.modules  # noqa: F401  (before anything of mmdet that looks kernels up)
from data.voc import ImageRecord
from detection import scorers
from detection.embedded_image import METHODS, EmbeddedImage
from detection.episode_list import Episode
from detection.fewshot import FewShotRule, detect, support_representatives
from detection.scorers import (
    SCORED,
    classifier_loss,
    fit_classifier,
    linear_logits,
    make_scorer,
    negative_embeddings,
    play_episode,
    raw_features,
    training_rows,
)

E, WIDTH = 6, 9
RULE = FewShotRule()


def unit(*shape):
    return F.normalize(torch.randn(*shape), dim=-1)


def image(count: int = 12, boxes: torch.Tensor | None = None, annotated: int = 3) -> EmbeddedImage:
    if boxes is None:
        corner = torch.rand(count, 2) * 50
        boxes = torch.cat([corner, corner + 10 + 30 * torch.rand(count, 2)], 1)
    count = len(boxes)
    widths = {m: WIDTH if m == "baseline_roi" else E for m in METHODS}
    return EmbeddedImage(
        boxes,
        boxes,
        torch.rand(count),
        {m: unit(count, w) for m, w in widths.items()},
        {m: unit(annotated, w) for m, w in widths.items()},
        1 + torch.rand(count),
        1 + torch.rand(annotated),
    )


def record(name: str, names: tuple[str, ...]) -> ImageRecord:
    boxes = np.array([[5, 5, 30, 30], [40, 40, 70, 75], [60, 5, 90, 30]], np.float32)[: len(names)]
    return ImageRecord(name, None, 100, 100, names, boxes, np.zeros(len(names), bool))


@pytest.fixture
def world():
    """Three support images with proposals about their boxes, two queries, an episode of two classes."""
    records = {f"s{k}": record(f"s{k}", ("cat", "dog", "cow")) for k in range(3)}
    embedded = {}
    for name, r in records.items():
        boxes = torch.from_numpy(r.boxes)
        jitter = [boxes + torch.randn(3, 4) * s for s in (0.5, 1, 3, 6, 10)]
        shifted = [boxes + s for s in (8.0, 12.0, 14.0, 16.0)]
        aside = boxes + 0.6 * (boxes[:, 2] - boxes[:, 0])[:, None] * torch.tensor([1.0, 0, 1, 0])  # IoU 1/4
        every = torch.cat([*jitter, *shifted, aside])
        every[:, 2:] = torch.maximum(every[:, 2:], every[:, :2] + 1)
        embedded[name] = image(boxes=every)
    embedded |= {f"q{k}": image() for k in range(2)}
    support = {"cat": (("s0", 0), ("s1", 0)), "dog": (("s0", 1), ("s2", 1))}
    return Episode(("cat", "dog"), support, {"cat": ("q0",), "dog": ("q1",)}), embedded, records


def supports_of(episode: Episode, shot: int) -> list:
    return [episode.support[name][:shot] for name in episode.classes]


def iou(a, b) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(w, 0) * max(h, 0)
    return float(inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner))


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


# --- a new last layer ------------------------------------------------------------------------------------------------------


def test_rows_for_a_classifier_by_a_loop(world) -> None:
    episode, embedded, records = world
    features, labels = training_rows(supports_of(episode, 2), embedded, records)
    expected_features, expected_labels = [], []
    for i, boxes in (("s0", {0: 0, 1: 1}), ("s1", {0: 0}), ("s2", {1: 1})):
        found, r = embedded[i], records[i]
        for p, region in enumerate(found.proposals):
            own = {b: iou(r.boxes[b], region) for b in boxes}
            b = max(own, key=own.get)
            other = max(iou(r.boxes[g], region) for g in range(3) if g not in boxes)
            if own[b] >= 0.5 or other < 0.5:
                expected_features.append(found.embeddings["baseline_roi"][p] * found.lengths[p])
                expected_labels.append(boxes[b] if own[b] >= 0.5 else 2)
        for b, c in boxes.items():
            expected_features.append(found.annotated["baseline_roi"][b] * found.annotated_lengths[b])
            expected_labels.append(c)
    assert labels.tolist() == expected_labels and set(expected_labels) == {0, 1, 2}
    assert len(labels) < 3 * len(embedded["s0"].proposals) + 4  # an unlabelled object is no background
    torch.testing.assert_close(features, torch.stack(expected_features))


def test_of_the_background_come_the_likeliest_objects(world, monkeypatch) -> None:
    episode, embedded, records = world
    monkeypatch.setattr(scorers, "BACKGROUND", 10_000)
    features, labels = training_rows(supports_of(episode, 2), embedded, records)
    monkeypatch.setattr(scorers, "BACKGROUND", 2)
    fewer, fewer_labels = training_rows(supports_of(episode, 2), embedded, records)
    kept = [bool((fewer == row).all(1).any()) for row in features]
    assert all(k for k, label in zip(kept, labels, strict=True) if label < 2)
    assert (fewer_labels == 2).sum() == 2 * len({i for own in supports_of(episode, 2) for i, _ in own})
    rows = [(i, e.objectness.tolist(), raw_features(e).tolist()) for i, e in embedded.items()]
    chances = {tuple(row): (chance, i) for i, own, found in rows for chance, row in zip(own, found, strict=True)}
    background = [(chances[tuple(row.tolist())], k) for row, k, y in zip(features, kept, labels, strict=True) if y == 2]
    for (chance, name), k in background:
        assert k or all(other >= chance for (other, same), taken in background if taken and same == name)


def test_the_linear_layer_is_sklearns_logistic_regression() -> None:
    """The same minimum: our quotas as its sample weights, our decay as its C; it does not penalise the bias, nor do we."""
    features, labels = torch.randn(60, 5) * 3 + 1, torch.randint(0, 4, (60,))
    weight, bias = fit_classifier(features, labels, 3, decay=0.05, steps=300)
    scale = features.norm(dim=-1).mean()
    background = (labels == 3).numpy()
    share = np.where(background, 0.75 / background.sum(), 0.25 / (~background).sum())
    reference = LogisticRegression(C=1 / 0.05, tol=1e-9, max_iter=5000)
    reference.fit((features / scale).numpy().astype(float), labels.numpy(), sample_weight=share)
    expected = reference.predict_proba((features / scale).numpy().astype(float))
    got = linear_logits(features, weight, bias, None).softmax(-1)
    np.testing.assert_allclose(got, expected, atol=2e-3)


def test_the_cosine_layer_is_at_a_minimum_and_blind_to_length() -> None:
    features, labels = torch.randn(40, 5), torch.randint(0, 3, (40,))
    weight, bias = fit_classifier(features, labels, 2, scale=5.0, decay=0.01, steps=300)
    one = features.double()
    length = one.norm(dim=-1).mean()
    best = weight.double() * length

    def loss(w):
        return float(classifier_loss(linear_logits(one / length, w, bias.double(), 5.0), labels, w, 0.01))

    at = loss(best)
    for _ in range(30):
        assert loss(best + 1e-2 * torch.randn_like(best)) >= at - 1e-6
    logits = linear_logits(features, weight, bias, 5.0)
    assert float(logits.abs().max()) <= 5.0 + 1e-5
    expected = torch.stack([5 * F.cosine_similarity(features, w[None]) for w in weight], 1)
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(linear_logits(7 * features, weight, bias, 5.0), logits)


@pytest.mark.parametrize("method", ["baseline_ft", "tfa_cosine"])
def test_a_new_layer_learns_its_supports(world, method) -> None:
    episode, embedded, records = world
    axes = torch.eye(WIDTH)
    for i, r in records.items():  # features that tell classes and background apart
        found = embedded[i]
        overlaps = [[iou(box, p) for box in r.boxes] for p in found.proposals]
        rows = [int(np.argmax(o)) if max(o) >= 0.5 else 5 for o in overlaps]
        found.embeddings["baseline_roi"].copy_(F.normalize(axes[rows] + 0.05 * torch.randn(len(rows), WIDTH), dim=-1))
        found.annotated["baseline_roi"].copy_(axes[:3])
    score = make_scorer(method, supports_of(episode, 2), embedded, records, RULE)
    scores = score(embedded["s1"])
    seen = embedded["s1"]
    assert torch.equal(raw_features(seen)[0], seen.embeddings["baseline_roi"][0] * seen.lengths[0])
    for p, region in enumerate(embedded["s1"].proposals):
        overlaps = [iou(box, region) for box in records["s1"].boxes]
        if overlaps.pop() >= 0.5:
            continue  # of a class that is in no support: it taught nothing
        for c in range(2):
            assert (float(scores[p, c]) > 0.5) == (overlaps[c] >= 0.5 and overlaps[c] == max(overlaps)), (p, c)


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
