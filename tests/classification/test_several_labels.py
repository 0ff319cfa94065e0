"""Several classes an image: probabilities class by class, against sums written out and through the command."""

import csv
import json
import math

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit
from sklearn.metrics import log_loss

from repmet.classification import explain, predict
from repmet.classification.few_shot_classifier import FewShotClassifier
from repmet.classification.several_labels import HeldOutDecisions, fitted_scale, several_heads

SECTION = {"type": "Conv4", "in_channels": 3, "width": 16, "image_size": 16}


def world(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images that show any of three classes, each a direction of its own."""
    rng = np.random.default_rng(seed)
    members = rng.random((number, 3)) < 0.4
    return (members @ np.eye(3, 8) + 0.25 * rng.standard_normal((number, 8))).astype(np.float32), members


def test_probabilities_are_of_each_class_by_itself() -> None:
    embeddings, members = world(40)
    heads = several_heads(embeddings, members, ("a", "b", "c"), 1)
    asked = world(200, seed=1)[0]
    probabilities = heads.probabilities(asked)
    for c in range(3):
        present, absent = (embeddings[members[:, c] == there].mean(0) for there in (True, False))
        margins = np.square(asked - absent).sum(1) - np.square(asked - present).sum(1)
        count = int(members[:, c].sum())
        logits = heads.scale * margins + heads.offset + math.log(count / (40 - count))
        np.testing.assert_allclose(probabilities[:, c], expit(logits), atol=1e-4)


def test_they_are_right_and_calibrated_on_other_images() -> None:
    heads = several_heads(*world(60), ("a", "b", "c"), 1)
    embeddings, members = world(2000, seed=2)
    probabilities = heads.probabilities(embeddings)
    assert ((probabilities >= 0.5) == members).mean() > 0.9
    for low, high in ((0, 0.2), (0.2, 0.8), (0.8, 1.01)):
        chosen = (probabilities >= low) & (probabilities < high)
        assert probabilities[chosen].mean() == pytest.approx(members[chosen].mean(), abs=0.12)
    assert heads.loss == pytest.approx(log_loss(members.ravel(), probabilities.ravel()), rel=0.5)  # says what to expect


def test_the_scale_is_the_likeliest_with_its_prior() -> None:
    rng = np.random.default_rng(0)
    margins, odds = rng.standard_normal(80), np.full(80, -0.5)
    truth = rng.random(80) < expit(3 * margins + 0.8)
    scale, offset = fitted_scale(HeldOutDecisions(margins, truth, odds), prior=2.0)

    def cost(a: float, b: float) -> float:
        p = expit(a * margins + b - 0.5)
        loss = -np.log(np.where(truth, p, 1 - p)).sum()
        return loss + math.log(a / 2) ** 2 / (2 * 0.4**2) + b**2 / 2

    assert all(cost(scale, offset) <= cost(scale * k, offset + b) + 1e-3 for k in (0.95, 1, 1.05) for b in (-0.05, 0, 0.05))
    empty = HeldOutDecisions(np.empty(0), np.empty(0, bool), np.empty(0))
    assert fitted_scale(empty, 2.0) == pytest.approx((2.0, 0.0), abs=1e-2)


def test_a_class_of_all_images_cannot_be_told() -> None:
    embeddings, members = world(9)
    members[:, 1] = True
    with pytest.raises(ValueError, match="every image is of the class 'b'"):
        several_heads(embeddings, members, ("a", "b", "c"), 1)


@pytest.fixture
def halves(picture, tmp_path):
    """Pictures whose halves have colours, with the colours of each as lines of a CSV file; of some both halves are alike."""
    lines = ["image,class"]
    names = ("blue", "green", "red")
    for k, (left, right) in enumerate([(a, b) for a in names for b in names] * 2):
        pixels = np.concatenate([picture(left, k, (24, 12)), picture(right, 50 + k, (24, 12))], 1)
        Image.fromarray(pixels).save(tmp_path / f"{k:02}.png")
        lines += [f"{k:02}.png,{name}" for name in sorted({left, right})]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_from_a_csv_of_several_lines_an_image(halves, checkpoint, tmp_path, capsys) -> None:
    classifier = FewShotClassifier(checkpoint).learn(halves / "labels.csv", several=True)
    assert classifier.classes == ("blue", "green", "red") and len(classifier.learnt.labels) == 30
    heads = classifier.learnt.several_heads
    np.testing.assert_allclose(np.exp(heads.odds), 10 / 8)  # of 18 different images 10 show each
    classifier.save(tmp_path / "classes.pth")
    words = ["--support", str(tmp_path / "classes.pth"), "--images", str(halves), "--out", str(tmp_path / "out")]
    again = FewShotClassifier(checkpoint).load(tmp_path / "classes.pth")
    assert again.learnt.several
    answer = again.predict(halves / "01.png")
    likely = {name for name, p in zip(answer.classes, answer.probabilities, strict=True) if p >= 0.5}
    assert answer.several and set(answer.names) == likely
    assert predict.main(words) == 0
    rows = json.loads((tmp_path / "out/predictions.json").read_text())
    truth: dict[str, set[str]] = {}
    for row in csv.DictReader((halves / "labels.csv").read_text().splitlines()):
        truth.setdefault(row["image"], set()).add(row["class"])
    said = {row["image"].split("/")[-1]: {name for name in row["class"].split("; ") if name} for row in rows}
    decisions = [(name in said[image]) == (name in truth[image]) for image in truth for name in classifier.classes]
    assert np.mean(decisions) > 0.6  # of an encoder that was never trained
    assert any(len(names) > 1 for names in said.values())
    assert "; " in (tmp_path / "out/predictions.csv").read_text() and (tmp_path / "out/index.html").is_file()
    assert explain.main(["--support", str(tmp_path / "classes.pth"), "--out", str(tmp_path / "out")]) == 2
    assert "may be of several classes" in capsys.readouterr().err


def test_a_class_that_is_added_and_taken_away(halves) -> None:
    classifier = FewShotClassifier(SECTION).learn(halves / "labels.csv", several=True)
    before = classifier.predict(halves / "01.png").probabilities
    classifier.add("dark", [Image.new("RGB", (20, 20)), halves / "00.png"])
    assert len(classifier.learnt.several_heads.heads) == 4
    assert classifier.learnt.several_heads.odds[1] == pytest.approx(math.log(2 / 17))  # one of the two was there
    classifier.remove("dark")
    np.testing.assert_allclose(classifier.predict(halves / "01.png").probabilities, before, atol=1e-4)
    with pytest.raises(ValueError, match="single class"):
        classifier.tune()
    with pytest.raises(ValueError, match="single class"):
        classifier.predict(halves / "01.png", none_share=0.1)


def test_without_the_word_two_classes_of_an_image_are_refused(halves, checkpoint, capsys) -> None:
    with pytest.raises(ValueError, match=r"01.png: is said to be of blue and of green; .* say --several"):
        FewShotClassifier(SECTION).learn(halves / "labels.csv")
    words = [str(checkpoint), "--support", str(halves / "labels.csv"), "--images", str(halves), "--several", "--labelled"]
    assert predict.main(words) == 2
    assert "goes with neither" in capsys.readouterr().err
