"""A checkpoint is measured as it was trained: what is taken over, what stays the experiment's, what is said and refused."""

import pytest
from mmengine.config import Config

from repmet.errors import UserError
from repmet.experiments.config.as_trained import take_over

KEYS = ("model", "test_pipeline", "data.size")


def experiment(**changes) -> Config:
    values = {
        "model": {"encoder": {"width": 64, "weights": "DEFAULT"}, "test_cfg": {"score": 0.1}},
        "test_pipeline": [{"type": "Resize", "scale": [240, 160]}, {"type": "Normalize", "mean": [0.5]}],
        "data": {"root": "a", "size": 224, "train": "train"},
        "episodes": {"way": 5},
    }
    return Config(values | changes)


def test_what_the_network_sees_is_the_trainings_and_all_else_the_experiments(capsys) -> None:
    trained = experiment(
        model={"encoder": {"width": 16, "weights": None}, "test_cfg": {"score": 0.9}},
        test_pipeline=[{"type": "Resize", "scale": [64, 64]}, {"type": "Normalize", "mean": [0.5]}],
        data={"root": "b", "size": 64, "train": "all"},
        episodes={"way": 20},
    )
    cfg = experiment()
    take_over(cfg, trained, KEYS, kept=("model.test_cfg",), options=["episodes.way=5", "data.train=train"], name="best.pth")
    assert cfg.model.encoder.to_dict() == {"width": 16, "weights": None}
    assert cfg.model.test_cfg.score == 0.1 and cfg.episodes.way == 5
    assert cfg.data.to_dict() == {"root": "a", "size": 64, "train": "train"}
    assert cfg.test_pipeline == trained.test_pipeline
    said = capsys.readouterr().err
    assert said == (
        "best.pth: measured as it was trained, with model.encoder.width 16 (here 64), "
        "test_pipeline.0.scale [64, 64] (here [240, 160]), data.size 64 (here 224)\n"
    )


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("data.size=96", "--cfg-options data.size=96: best.pth was trained with 64"),
        ("test_pipeline.1.mean=[0.1]", "test_pipeline.1.mean=[0.1]: best.pth was trained with [0.5]"),
        ("model.encoder={width: 3}", "model.encoder.width=3: best.pth was trained with 64"),
    ],
)
def test_an_option_that_wants_something_else_is_refused(option, said, capsys) -> None:
    trained = experiment(data={"root": "b", "size": 64})
    cfg = experiment(data={"root": "a", "size": 64})
    match option.partition("=")[0]:
        case "data.size":
            cfg.data.size = 96
        case "model.encoder":
            cfg.model.encoder = {"width": 3}
        case _:
            cfg.test_pipeline[1].mean = [0.1]
    with pytest.raises(UserError) as caught:
        take_over(cfg, trained, KEYS, options=[option], name="best.pth")
    assert said in str(caught.value) and "leave the option out" in str(caught.value)


def test_what_does_not_differ_is_not_spoken_of(capsys) -> None:
    """Nor is where weights came from, nor null in the place of nothing, nor a tuple in the place of a list."""
    trained = experiment(model={"encoder": {"width": 64, "weights": None, "norm": None}, "test_cfg": {"score": 0.1}})
    trained.test_pipeline[0].scale = (240, 160)
    cfg = experiment()
    options = ["model.encoder.weights=other.pth", "data.size=224"]
    take_over(cfg, trained, KEYS, options=options, name="best.pth")
    assert capsys.readouterr().err == ""


def test_what_the_training_does_not_say_stays(capsys) -> None:
    """Of images in memory there is no size; another source of images may need one."""
    cfg = experiment()
    take_over(cfg, Config({"model": cfg.model.to_dict(), "data": {"source": "omniglot"}}), KEYS, name="best.pth")
    assert cfg.data.size == 224 and len(cfg.test_pipeline) == 2 and capsys.readouterr().err == ""
