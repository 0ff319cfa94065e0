"""The classifier on pictures of plain colours, by an encoder without training, against sums written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import repmet
from repmet.classification.few_shot_classifier import FewShotClassifier
from repmet.classification.fitted_head import Tuning
from repmet.classification.image_encoder import open_encoder
from repmet.classification.methods import RepMet

COLOURS = ("blue", "green", "red")
SECTION = {"type": "Conv4", "in_channels": 3, "width": 16, "image_size": 16}


@pytest.fixture
def classifier() -> FewShotClassifier:
    return FewShotClassifier(SECTION)


def test_probabilities_are_the_posterior_on_class_means(classifier, folders, picture) -> None:
    assert classifier.learn(folders) is classifier
    assert classifier.classes == ("blue", "green", "red")
    images = [picture(name, 50 + k) for name in COLOURS for k in range(3)]
    predictions = list(classifier.predict(images))
    assert [p.name for p in predictions] == [name for name in COLOURS for _ in range(3)]
    shown = [[classifier.embed(folders / name / f"{k}.png")[0].numpy() for k in range(4)] for name in COLOURS]
    for image, prediction in zip(images, predictions, strict=True):
        e = classifier.embed(image)[0].numpy()
        assert np.linalg.norm(e) == pytest.approx(1, abs=1e-5)
        d2 = np.array([np.square(e - np.mean(of_class, 0)).sum() for of_class in shown])
        kernels = np.exp(-d2 / (2 * classifier.learnt.sigma**2))
        np.testing.assert_allclose(prediction.probabilities, kernels / kernels.sum(), atol=1e-4)
        assert prediction.distance == pytest.approx(d2.min(), abs=1e-5)
        to_all = sorted((np.square(e - of_class[k]).sum(), str(folders / n / f"{k}.png"))
                        for n, of_class in zip(COLOURS, shown, strict=True) for k in range(4))  # fmt: skip
        np.testing.assert_allclose(prediction.distances, [d for d, _ in to_all[:3]], atol=1e-5)
        assert {s.name for s in prediction.nearest} == {name for _, name in to_all[:3]}
        assert prediction.top(1) == [(prediction.name, prediction.probability)] and len(prediction.top(9)) == 3
        for number in (0, -1, 1.5, "2"):
            with pytest.raises(ValueError, match="number of classes is at least 1"):
                prediction.top(number)


def test_all_images_and_k_means_as_representatives(folders) -> None:
    everything = FewShotClassifier(SECTION, modes=None).learn(folders)
    assert everything.learnt.head.points.shape == (3, 4, everything.learnt.embeddings.shape[1])
    seen = everything.predict(folders / "red" / "2.png")
    assert seen.distance == pytest.approx(0, abs=1e-5)
    assert seen.nearest[0].name == str(folders / "red" / "2.png")
    assert FewShotClassifier(SECTION, modes=2).learn(folders).learnt.head.points.shape[:2] == (3, 2)


def test_one_image_one_answer_and_several_in_order(classifier, folders, picture) -> None:
    classifier.batch_size = 4
    classifier.learn({name: sorted((folders / name).glob("[0-9].png")) for name in COLOURS})
    alone = classifier.predict(folders / "red" / "1.png")
    assert isinstance(alone, repmet.Prediction)
    order = [folders / "red" / "1.png", Image.open(folders / "blue" / "0.png"), picture("green", 9), folders]
    several = list(classifier.predict(order))
    names = [str(folders / name / f"{k}.png") for name in COLOURS for k in range(4)]
    assert [p.image.name for p in several] == [str(order[0]), "image 2", "image 3", *names]
    np.testing.assert_allclose(several[0].probabilities, alone.probabilities, atol=1e-3)  # whatever else is in its batch
    assert "red" in repr(alone)


def test_answers_are_streamed(classifier, folders, picture) -> None:
    classifier.learn(folders)
    asked = []

    def camera():
        for k in range(5):
            asked.append(k)
            yield picture("red", k)

    answers = classifier.predict(camera())
    assert next(answers).name == "red"
    assert asked == [0]


def test_adding_and_removing_is_learning_the_rest(classifier, folders) -> None:
    def same(a: FewShotClassifier, b: FewShotClassifier) -> bool:
        order = [sorted(zip(x.learnt.names, x.learnt.labels.tolist(), strict=True)) for x in (a, b)]
        return (
            a.classes == b.classes
            and order[0] == order[1]
            and np.allclose(a.learnt.head.points, b.learnt.head.points, atol=1e-6)
        )

    red, blue = [folders / "red" / f"{k}.png" for k in range(4)], [folders / "blue" / f"{k}.png" for k in range(4)]
    expected = FewShotClassifier(SECTION)
    expected.encoder = classifier.encoder
    expected.learn({"red": red, "blue": blue})
    classifier.add("red", red[:1]).add("blue", blue).add("red", red[1:])
    assert same(classifier, expected)
    assert same(classifier.learn(folders).remove("green"), expected)
    with pytest.raises(ValueError, match="no class 'green' to remove; there are: blue, red"):
        classifier.remove("green")
    classifier.remove("red").remove("blue")
    assert classifier.classes == ()


def test_a_class_gets_another_name_and_its_place(classifier, folders, picture) -> None:
    classifier.learn(folders)
    before = classifier.predict(picture("blue", 9))
    assert classifier.rename("blue", "sky") is classifier and classifier.classes == ("green", "red", "sky")
    after = classifier.predict(picture("blue", 9))
    assert before.name == "blue" and after.name == "sky" and after.nearest[0].label == "sky"
    assert after.probability == pytest.approx(before.probability, abs=1e-5)
    kept = classifier.learnt
    assert classifier.rename("sky", "sky").classes == kept.classes
    for name, new, message in (
        ("blue", "x", "there is no class 'blue' to rename; there are: green, red, sky"),
        ("red", "green", "'green' is the name of another class"),
        ("red", " ", "class ' ' is no name"),
        ("red", 3, "class 3 is of type int"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier.rename(name, new)


def test_a_tuned_classifier_answers_saves_and_learns_more(classifier, folders, picture, tmp_path) -> None:
    with pytest.raises(ValueError, match="nothing to tune"):
        classifier.tune()
    classifier.learn(folders)
    assert classifier.tune(5) is classifier
    classifier.learnt = replace(classifier.learnt, tuning=Tuning(0.5, 0.3))
    answer = classifier.predict(picture("red", 60), none_share=0.1)
    assert answer.name == "red" and answer.probabilities.sum() == pytest.approx(1, abs=1e-5)
    classifier.save(tmp_path / "classes.pth")
    again = FewShotClassifier(SECTION)
    again.encoder = classifier.encoder
    again.load(tmp_path / "classes.pth")
    assert again.learnt.tuning == Tuning(0.5, 0.3)
    np.testing.assert_allclose(again.predict(picture("red", 60)).probabilities, answer.probabilities, atol=1e-5)
    assert again.add("red", picture("red", 61)).learnt.tuning == Tuning(0.5, 0.3)


def test_very_thin_images_are_learnt_and_looked_at(classifier, folders) -> None:
    for size in ((1, 2000), (2000, 1), (1, 1)):
        thin = Image.new("RGB", size, (220, 40, 30))
        assert classifier.learn({"thin": thin, "blue": folders / "blue"}).learnt.thumbnails.shape[1:] == (96, 96, 3)
        answer = classifier.predict(thin)
        assert answer.name == "thin" and answer.plot().size[0] > 100


@pytest.mark.parametrize("modes", ["everything", 0, 1.5, True])
def test_modes_are_a_number_or_all(modes) -> None:
    with pytest.raises(ValueError, match=rf"modes is a whole number from 1, or None or 'all' .*, not {modes!r}"):
        FewShotClassifier(SECTION, modes=modes)
    assert FewShotClassifier(SECTION, modes="all").modes is None


def test_what_fails_changes_nothing(classifier, folders, tmp_path) -> None:
    with pytest.raises(ValueError, match="learn from images first"):
        classifier.predict(folders)
    classifier.learn(folders)
    before = classifier.learnt
    (tmp_path / "red").mkdir()
    with pytest.raises(ValueError, match="red: the class folder holds no image"):
        classifier.learn(tmp_path)
    (tmp_path / "red" / "damaged.png").write_bytes((folders / "red" / "0.png").read_bytes()[:80])
    for support in (tmp_path, {"red": tmp_path / "red"}):
        with pytest.raises(ValueError, match=r"damaged\.png: cannot be read"):
            classifier.learn(support)
    for wrong, message in (
        ("typo", "no such folder"),
        ({}, "is empty"),
        (folders / "red" / "0.png", "class folders or a CSV"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            classifier.learn(wrong)
    with pytest.raises(FileNotFoundError):
        classifier.add("red", "typo.png")
    with pytest.raises(FileNotFoundError):
        classifier.load(tmp_path / "typo.pth")
    assert classifier.learnt is before


def test_unreadable_images_are_passed_over_where_asked(classifier, folders, tmp_path, picture) -> None:
    classifier.learn(folders)
    (tmp_path / "a.png").write_text("no picture")
    Image.fromarray(picture("red", 1)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as an image"):
        list(classifier.predict(tmp_path))
    unreadable: list[str] = []
    (answer,) = classifier.predict(tmp_path, unreadable=unreadable)
    assert answer.name == "red"
    assert len(unreadable) == 1 and unreadable[0].startswith(f"{tmp_path / 'a.png'}: cannot be read")


def test_none_of_the_classes(classifier, folders, picture) -> None:
    classifier.learn(folders)
    black = np.zeros((20, 20, 3), np.uint8)
    answers = list(classifier.predict([picture("red", 60), black], none_share=0.1))
    assert [p.name for p in answers] == ["red", None]
    assert [p.none for p in answers] == [False, True]
    assert classifier.predict(black).name is not None
    with pytest.raises(ValueError, match="takes 99 support images whose class has others; there are 12"):
        classifier.predict(black, none_share=0.01)


def test_saved_classes_answer_alike(checkpoint, folders, tmp_path, picture) -> None:
    first = FewShotClassifier(checkpoint, modes=2).learn(folders)
    first.save(tmp_path / "kept" / "classes.pth")
    second = FewShotClassifier(checkpoint).load(tmp_path / "kept" / "classes.pth")
    assert second.classes == first.classes and second.modes == 2
    image = picture("green", 33)
    a, b = first.predict(image), second.predict(image)
    np.testing.assert_array_equal(a.probabilities, b.probabilities)
    assert [s.name for s in a.nearest] == [s.name for s in b.nearest]
    assert a.nearest[0].thumbnail.shape == (96, 96, 3)
    with pytest.raises(ValueError, match="was made with another encoder"):
        FewShotClassifier(SECTION).load(tmp_path / "kept" / "classes.pth")
    with pytest.raises(ValueError, match="not a file of learnt classes"):
        second.load(checkpoint)
    with pytest.raises(ValueError, match="nothing to save"):
        FewShotClassifier(checkpoint).save(tmp_path / "empty.pth")


def test_a_checkpoint_embeds_as_its_training_did(checkpoint, picture) -> None:
    encoder = open_encoder(checkpoint)
    assert encoder.size == (16, 16) and encoder.sigma == 0.4
    torch.manual_seed(0)
    method = RepMet(SECTION, {"type": "EmbeddingHead", "out_channels": 6}, num_classes=7).eval()
    pixels = torch.from_numpy(picture("red", 0, (16, 16))).permute(2, 0, 1)
    embedded = encoder.embedded([encoder.pixels(Image.fromarray(picture("red", 0, (16, 16))))])
    torch.testing.assert_close(torch.from_numpy(embedded), method.embed(pixels[None] / 255).detach())
    assert open_encoder(checkpoint.parent).digest == encoder.digest  # a run folder, for its best one


def test_an_encoder_of_grey_images_sees_grey(picture) -> None:
    encoder = open_encoder({"type": "Conv4", "in_channels": 1, "image_size": 28})
    assert encoder.pixels(Image.fromarray(picture("red", 0))).shape == (28, 28, 1)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"type": "Conv5"}, "names its `type`"),
        ({"type": "Conv4", "widht": 3}, "widht"),
        ("nothing.pth", "no such checkpoint"),
        ("resnet1", "resnet"),
    ],
)
def test_what_is_no_encoder(source, message) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        FewShotClassifier(source)


def test_a_picture_of_the_answer(classifier, folders, picture) -> None:
    shown = classifier.learn(folders).predict(picture("red", 3)).plot()
    assert isinstance(shown, Image.Image) and shown.mode == "RGB"
    pixels = np.asarray(shown).reshape(-1, 3).astype(int)
    assert (np.abs(pixels - (220, 40, 30)).max(1) < 40).sum() > 2000  # the image and its supports are in it
