"""An option that the protocol does not read is refused; nothing that it reads is."""

import argparse

import pytest

from repmet.detection.protocols.options import episode_file, episode_options, refuse_unread


def args(**options) -> argparse.Namespace:
    nothing = {"way": None, "shot": None, "query": None, "seed": None, "episodes": None}
    return argparse.Namespace(**nothing | {"seeds": 0, "lists": None, "finetune": False, "cfg_options": []} | options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seeds": 2, "finetune": True}, "--finetune: --seeds"),
        ({"seeds": 2, "way": 99, "query": 999}, "--way, --query: --seeds"),
        ({"seeds": 2, "cfg_options": ["episodes.methods=[nonsense]"]}, "--cfg-options episodes.methods: --seeds"),
        ({"seeds": 2, "cfg_options": ["episodes.calibration=0.3"]}, "episodes.calibration"),
        ({"seeds": 2, "cfg_options": ["data.base_test=null"]}, "data.base_test"),
        ({"seeds": 2, "episodes": "9"}, "give one of them"),
        ({"seeds": 2, "lists": "d"}, "give one of them"),
        ({"seeds": -1}, "at least one list"),
        ({"lists": "d", "seed": 4}, "--seed: --lists"),
        ({"lists": "d", "cfg_options": ["finetune.epochs=3"]}, "finetune.epochs: --lists"),
        ({"episodes": "e.json", "shot": [1], "seed": 3}, "--shot, --seed: the episode file e.json fixes these"),
        ({"episodes": "e.json", "cfg_options": ["episodes.way=3"]}, "--cfg-options episodes.way: the episode file e.json"),
        ({"cfg_options": ["finetune.lr=0.1"]}, "finetune.lr: nothing is fine-tuned without --finetune"),
    ],
)
def test_what_is_not_read_is_refused(options: dict, named: str) -> None:
    with pytest.raises(ValueError) as caught:
        refuse_unread(args(**options))
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"seeds": 2, "shot": [1, 5], "seed": 3, "cfg_options": ["episodes.support_iou=0.5", "data.root=x"]},
        {"lists": "d", "shot": [1]},
        {
            "episodes": "9",
            "way": 5,
            "shot": [1],
            "query": 3,
            "seed": 1,
            "finetune": True,
            "cfg_options": ["finetune.lr=0.1"],
        },
        {"episodes": "e.json", "finetune": True, "cfg_options": ["episodes.methods=[repmet]"]},
    ],
)
def test_what_is_read_is_not_refused(options: dict) -> None:
    refuse_unread(args(**options))


def test_numbers_and_files_of_episodes_are_told_apart() -> None:
    assert episode_file(args(episodes="500")) is None and episode_file(args(episodes="5.json")) == "5.json"
    assert episode_options(args(episodes="5.json", finetune=True)) == ["--finetune", "--episodes"]
    assert episode_options(args(way=3, cfg_options=["data.root=x"])) == ["--way"]
