"""`logistic`: its training rows by a loop, its minimum against scikit-learn's, and what it gains from the background."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from episode_world import RULE, iou, supports_of
from sklearn.linear_model import LogisticRegression as Reference

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.scoring import training_rows as rules
from repmet.detection.scoring.logistic import LogisticRegression, marked_regions, regions_of
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.scorer import restored

SPACE = "baseline_roi"


def training_rows(supports: SupportSet, marks: str = "partial") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows = rules.training_rows(marked_regions(supports), len(supports), marks)
    return torch.from_numpy(rows.features), torch.from_numpy(rows.labels), torch.from_numpy(rows.weights)


def test_rows_by_a_loop(world) -> None:
    supports = supports_of(world, 2)
    features, labels, weights = training_rows(supports, "complete")
    objects, background = [], []
    for name, boxes in (("s0", {0: 0, 1: 1}), ("s1", {0: 0}), ("s2", {1: 1})):
        image, record = supports.embedded[name], supports.records[name]
        objects += [(image.annotated[SPACE][b], c, 1.0) for b, c in boxes.items()]
        for p, region in enumerate(image.proposals):
            marked = {b: iou(record.boxes[b], region) for b in boxes}
            best = max(marked, key=marked.get)
            if marked[best] >= 0.6:
                objects.append((image.embeddings[SPACE][p], boxes[best], marked[best]))
            elif marked[best] < 0.3:  # also an annotated object that is no mark: nobody has drawn it
                background.append((image.embeddings[SPACE][p], 2, float(image.objectness[p])))
    expected = objects + background
    assert labels.tolist() == [c for _, c, _ in expected] and set(labels.tolist()) == {0, 1, 2}
    torch.testing.assert_close(features, torch.stack([f for f, _, _ in expected]))
    np.testing.assert_allclose(weights, [w for _, _, w in expected], rtol=1e-5)


def test_unmarked_neighbours_of_a_class_are_no_background() -> None:
    """Ten equal objects and one that is marked: what looks like it is left out, unless all are said to be marked."""
    axes = torch.eye(9)
    boxes = torch.tensor([[10.0 * k, 0, 10 * k + 8, 8] for k in range(20)])
    looks = F.normalize(axes[0] + 0.05 * torch.randn(20, 9), dim=-1)
    looks[10:] = axes[5]  # the ground
    near = torch.tensor([[0.5, 0, 8.5, 8.0]])  # overlaps the mark
    image = EmbeddedImage(
        boxes=torch.cat([boxes, near]),
        proposals=torch.cat([boxes, near]),
        objectness=torch.full((21,), 0.5),
        embeddings={SPACE: torch.cat([looks, F.normalize(axes[0] + 0.3 * axes[1], dim=0)[None]])},
        annotated={SPACE: F.normalize(axes[0] + 0.2 * axes[2], dim=0)[None]},
    )
    record = ImageRecord("a", None, 200, 10, ("coin",), boxes[:1].numpy(), np.zeros(1, bool))
    supports = SupportSet(("coin",), [[("a", 0)]], {"a": record}, {"a": image})
    partial, complete = (training_rows(supports, marks)[1] for marks in ("partial", "complete"))
    assert (partial == 1).sum() == 10 and (complete == 1).sum() == 19
    scores = LogisticRegression.learn(supports, RULE).scores(image)[:, 0]
    assert scores[:10].min() > 0.6 and scores[10:20].max() < 0.4


def test_it_is_sklearns_with_balanced_classes(world) -> None:
    supports = supports_of(world, 2)
    features, labels, weights = training_rows(supports)
    assert (labels == 2).any()
    shares = np.array([float(w) / (3 * float(weights[labels == c].sum())) for w, c in zip(weights, labels, strict=True)])
    reference = Reference(C=1 / RULE.logistic_decay, tol=1e-9, max_iter=5000)
    reference.fit(features.double().numpy(), labels.numpy(), sample_weight=shares)
    scorer = LogisticRegression.learn(supports, RULE)
    image = supports.embedded["q0"]
    expected = reference.predict_proba(image.embeddings[SPACE].double().numpy())[:, :2]
    np.testing.assert_allclose(scorer.scores(image), expected, atol=1e-4)


def test_it_is_kept_as_its_state(world) -> None:
    scorer = Method("logistic", RULE).learn(supports_of(world, 1))
    image = supports_of(world, 1).embedded["q1"]
    assert torch.equal(restored(scorer.state()).scores(image), scorer.scores(image))


def test_views_of_a_mark_are_marks(world) -> None:
    supports = supports_of(world, 1)
    before = len(training_rows(supports, "complete")[1])
    for name in supports.by_image:
        image = supports.embedded[name]
        values = vars(image) | {"views": {SPACE: F.normalize(torch.randn(1, *image.annotated[SPACE].shape), dim=-1)}}
        supports.embedded[name] = EmbeddedImage(**values)
    _, labels, weights = training_rows(supports, "complete")
    marks = sum(map(len, supports.by_image.values()))
    assert len(labels) == before + marks
    assert (weights == 1).sum() >= 2 * marks


def test_an_image_without_proposals_still_shows_its_marks(world) -> None:
    supports = supports_of(world, 1)
    (name, *_) = supports.by_image
    values = vars(supports.embedded[name])
    none = {"boxes": torch.zeros(0, 4), "proposals": torch.zeros(0, 4), "objectness": torch.zeros(0)}
    supports.embedded[name] = EmbeddedImage(**values | none | {"embeddings": {SPACE: torch.zeros(0, 9)}})
    assert set(training_rows(supports)[1].tolist()) >= {0, 1}


def test_of_much_background_comes_what_looks_most_like_objects(world, monkeypatch) -> None:
    supports = supports_of(world, 2)
    _, labels, weights = training_rows(supports, "complete")
    ground = weights[labels == 2]
    monkeypatch.setattr(rules, "BACKGROUND", 3)
    fewer = training_rows(supports, "complete")
    assert sorted(fewer[2][fewer[1] == 2].tolist()) == sorted(ground.tolist())[-3:]
    assert (fewer[1] < 2).sum() == (labels < 2).sum()


def test_a_rejected_region_counts_against_its_class_alone(world) -> None:
    """Every other row of the layer stays bit for bit; the region and what overlaps it fall, and a full fit agrees."""
    supports = supports_of(world, 2)
    scorer = LogisticRegression.learn(supports, RULE)
    (name, image) = next((i, e) for i, e in supports.embedded.items() if i.startswith("q"))
    best = int(scorer.scores(image)[:, 0].argmax())
    record = replace(supports.records["s0"], id=name, boxes=image.proposals[best][None].numpy(), names=("cat",))
    shown = replace(image, annotated={SPACE: image.embeddings[SPACE][best][None]})
    more = SupportSet(("cat", "dog"), [[], []], {name: record}, {name: shown}, [[(name, 0)], []])
    moved = scorer.corrected(regions_of(more, name), 0)
    assert torch.equal(moved.weight[1:], scorer.weight[1:]) and torch.equal(moved.bias[1:], scorer.bias[1:])
    before, after = scorer.scores(image)[best, 0], moved.scores(image)[best, 0]
    assert after < before - 0.05
    again = LogisticRegression.learn(replace(supports, **_with(supports, more)), RULE)
    assert again.scores(image)[best, 0] < before - 0.05


def _with(supports: SupportSet, more: SupportSet) -> dict:
    both = supports.joined(more)
    return {"records": both.records, "embedded": both.embedded, "rejected": both.rejected}


def test_equal_pictures_are_one_image(world) -> None:
    """A class that is added later is no background of the image that it shares with the first."""
    supports = supports_of(world, 1)
    cats = replace(supports, classes=("cat",), boxes=[[("s0", 0)]], records={"s0": supports.records["s0"]})
    dogs = replace(supports, classes=("dog",), boxes=[[("s0", 1)]], records={"s0": supports.records["s0"]})
    both = cats.joined(dogs)
    assert both.boxes == [[("s0", 0)], [("s0", 4)]] and list(both.by_image) == ["s0"]
    rows = rules.training_rows(marked_regions(both), 2, "complete")
    apart = rules.training_rows(marked_regions(supports), 2, "complete")
    assert sorted(map(tuple, rows.features.tolist())) == sorted(map(tuple, apart.features.tolist()))
