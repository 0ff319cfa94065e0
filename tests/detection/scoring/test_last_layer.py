"""The new last layers of `baseline_ft` and `tfa_cosine`: what teaches them, and that they are the minimum of their loss."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from episode_world import RULE, WIDTH, iou, supports_of
from sklearn.linear_model import LogisticRegression

from repmet.detection.embedding.embedded_image import raw_features
from repmet.detection.scoring import last_layer
from repmet.detection.scoring.last_layer import fit_classifier, linear_logits, quota, training_rows
from repmet.detection.scoring.methods import Method


def test_rows_for_a_classifier_by_a_loop(world) -> None:
    _, embedded, records = world
    features, labels = training_rows(supports_of(world, 2))
    expected_features, expected_labels = [], []
    for i, boxes in (("s0", {0: 0, 1: 1}), ("s1", {0: 0}), ("s2", {1: 1})):
        image, r = embedded[i], records[i]
        for p, region in enumerate(image.proposals):
            overlaps = {b: iou(r.boxes[b], region) for b in boxes}
            b = max(overlaps, key=overlaps.get)
            other = max(iou(r.boxes[g], region) for g in range(3) if g not in boxes)
            if overlaps[b] >= 0.5 or other < 0.5:
                expected_features.append(image.embeddings["baseline_roi"][p] * image.lengths[p])
                expected_labels.append(boxes[b] if overlaps[b] >= 0.5 else 2)
        for b, c in boxes.items():
            expected_features.append(image.annotated["baseline_roi"][b] * image.annotated_lengths[b])
            expected_labels.append(c)
    assert labels.tolist() == expected_labels and set(expected_labels) == {0, 1, 2}
    assert len(labels) < 3 * len(embedded["s0"].proposals) + 4  # an unlabelled object is no background
    torch.testing.assert_close(features, torch.stack(expected_features))


def test_of_the_background_come_the_likeliest_objects(world, monkeypatch) -> None:
    _, embedded, _ = world
    monkeypatch.setattr(last_layer, "BACKGROUND", 10_000)
    features, labels = training_rows(supports_of(world, 2))
    monkeypatch.setattr(last_layer, "BACKGROUND", 2)
    fewer, fewer_labels = training_rows(supports_of(world, 2))
    kept = [bool((fewer == row).all(1).any()) for row in features]
    assert all(k for k, label in zip(kept, labels, strict=True) if label < 2)
    assert (fewer_labels == 2).sum() == 2 * len(supports_of(world, 2).by_image)
    rows = [(i, e.objectness.tolist(), raw_features(e).tolist()) for i, e in embedded.items()]
    chances = {tuple(row): (chance, i) for i, objectness, raw in rows for chance, row in zip(objectness, raw, strict=True)}
    background = [(chances[tuple(row.tolist())], k) for row, k, y in zip(features, kept, labels, strict=True) if y == 2]
    for (chance, name), k in background:
        assert k or all(other >= chance for (other, same), taken in background if taken and same == name)


def test_the_linear_layer_is_sklearns_logistic_regression() -> None:
    """The same minimum: our quotas as its sample weights, our decay as its C; it does not penalise the bias, nor do we."""
    features, labels = torch.randn(60, 5) * 3 + 1, torch.randint(0, 4, (60,))
    weight, bias = fit_classifier(features, labels, 3, quota(labels, 3), decay=0.05, steps=300)
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
    weights = quota(labels, 2)
    weight, bias = fit_classifier(features, labels, 2, weights, scale=5.0, decay=0.01, steps=300)
    inputs = features.double()
    length = inputs.norm(dim=-1).mean()
    best = weight.double() * length

    def loss(w):
        losses = F.cross_entropy(linear_logits(inputs / length, w, bias.double(), 5.0), labels, reduction="none")
        return float((weights * losses).sum() + 0.005 * w.square().sum())

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
    _, embedded, records = world
    axes = torch.eye(WIDTH)
    for i, r in records.items():  # features that tell classes and background apart
        image = embedded[i]
        overlaps = [[iou(box, p) for box in r.boxes] for p in image.proposals]
        rows = [int(np.argmax(o)) if max(o) >= 0.5 else 5 for o in overlaps]
        image.embeddings["baseline_roi"].copy_(F.normalize(axes[rows] + 0.05 * torch.randn(len(rows), WIDTH), dim=-1))
        image.annotated["baseline_roi"].copy_(axes[:3])
    scores = Method(method, RULE).learn(supports_of(world, 2)).scores(embedded["s1"])
    seen = embedded["s1"]
    assert torch.equal(raw_features(seen)[0], seen.embeddings["baseline_roi"][0] * seen.lengths[0])
    for p, region in enumerate(embedded["s1"].proposals):
        overlaps = [iou(box, region) for box in records["s1"].boxes]
        if overlaps.pop() >= 0.5:
            continue  # of a class that is in no support: it taught nothing
        for c in range(2):
            assert (float(scores[p, c]) > 0.5) == (overlaps[c] >= 0.5 and overlaps[c] == max(overlaps)), (p, c)
