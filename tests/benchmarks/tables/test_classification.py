"""The tables of classification: what they show, how seeds are summed up, and what is wrong with broken files."""

import math

import pytest

from repmet.benchmarks.tables.formatting import seeds_of
from repmet.benchmarks.tables.pages import render
from repmet.benchmarks.tables.runs import Run
from tests.benchmarks.tables.conftest import accuracy as row
from tests.benchmarks.tables.conftest import classified as result

OMNIGLOT = ("omniglot", "test", "ProtoNet")
FLOWERS = ("flowers17", "RepMet v2, ResNet-18")


def test_few_shot_columns_are_ordered_by_way_and_shot():
    metrics = [("20-way 1-shot", 0.96), ("5-way 5-shot", 0.997), ("5-way 1-shot", 0.98804)]
    text = render("classification-few-shot", [result("a", *(row(*OMNIGLOT, m, v) for m, v in metrics))])
    assert text.splitlines() == [
        "| data | split | method | 5-way 1-shot | 5-way 5-shot | 20-way 1-shot | n | seeds |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| omniglot | test | ProtoNet | 98.80 ± 0.10 | 99.70 ± 0.10 | 96.00 ± 0.10 | 10,000 | 1 |",
    ]


def test_methods_and_splits_have_rows_of_their_own():
    results = [
        result("a", row(*OMNIGLOT, "5-way 1-shot", 0.9)),
        result("b", row("omniglot", "val", "ProtoNet", "20-way 1-shot", 0.8, ci95=None, n=1)),
    ]
    text = render("classification-few-shot", results)
    assert "| omniglot | test | ProtoNet | 90.00 ± 0.10 | – | 10,000 | 1 |" in text
    assert "| omniglot | val | ProtoNet | – | 80.00 | 1 | 1 |" in text


def test_files_that_differ_in_the_seed_become_one_figure():
    results = [
        result(f"s{s}", row(*OMNIGLOT, "5-way 1-shot", mean, seeds=[s])) for s, mean in ((1, 0.9), (2, 0.92), (3, 0.94))
    ]
    half = 100 * 4.302653 * 0.02 / math.sqrt(3)
    assert f"| ProtoNet | 92.00 ± {half:.2f} | 3 | 1, 2, 3 |" in render("classification-few-shot", results)


def test_errors_of_training_and_held_out_images():
    rows = [
        row(FLOWERS[0], split, FLOWERS[1], rule, mean, ci95=0.01)
        for rule, split, mean in (
            ("unsupervised", "test", 0.5),
            ("simple", "train", 1.0),
            ("simple", "test", 0.75),
            ("other", "test", 0.2),
        )
    ]
    text = render("classification-errors", [result("a", *rows, row(*OMNIGLOT, "5-way 1-shot", 0.9))])
    assert text.splitlines() == [
        "| data | held out | method | simple, train (held out) | unsupervised, train (held out) | other, train (held out) | "
        "seeds |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
        "| flowers17 | test | RepMet v2, ResNet-18 | 0.0 ± 1.0 (25.0 ± 1.0) | – (50.0 ± 1.0) | – (80.0 ± 1.0) | 1 |",
    ]


def test_whatever_the_split_is_called_that_is_trained_on():
    rows = [row("pets", split, "Magnet", "magnet", mean, ci95=None) for split, mean in (("trainval", 0.9), ("test", 0.5))]
    assert "| pets | test | Magnet | 10.0 (50.0) | 1 |" in render("classification-errors", [result("a", *rows)])


def test_a_method_measured_on_its_training_images_alone():
    text = render("classification-errors", [result("a", row("pets", "train", "Magnet", "magnet", 0.9, ci95=None))])
    assert "| pets | – | Magnet | 10.0 (–) | 1 |" in text


def test_trainings():
    took = {"images": 82240, "epochs": 200, "steps": 20000, "seconds": 3900, "peak_memory": 3 * 2**29, "machine": "2 cores"}
    full = result("a", row(*OMNIGLOT, "5-way 1-shot", 0.9), training={**took, "losses": [4.0, 2.25, 0.5, 0.5]})
    bare = result("b", row(*OMNIGLOT, "5-way 5-shot", 0.9), training={"seconds": 30}, seed=2)
    flat = result("c", row(*OMNIGLOT, "20-way 1-shot", 0.9), training={"losses": [2.0, 2.0]})
    text = render("classification-training", [full, bare, flat])
    assert "| a | ProtoNet | 1 | 82,240 | 200 | 20,000 | 1 h 05 min | 1.50 GiB | 4 █▅▁▁ 0.5 | 2 cores |" in text
    assert "| b | ProtoNet | 2 | – | – | – | 0.5 min | – | – |  |" in text
    assert "2 ▁▁ 2" in text


def test_trainings_of_one_method_and_several_seeds_become_one_row():
    def trained(seed: int, method: str, epochs: int, losses: list[float]) -> Run:
        made = {"epochs": epochs, "seconds": 60 * epochs, "losses": losses}
        return result("a", row("pets", "test", method, "magnet", 0.9, seeds=[seed]), training=made, seed=seed)

    results = [trained(1, "v1", 10, [2.0, 1.0]), trained(2, "v1", 13, [9.0, 9.0]), trained(1, "v2", 5, [3.0])]
    text = render("classification-training", results)
    assert "| v1 | 1, 2 | – | 12 | – | 11.5 min | – | 2 █▁ 1 |" in text
    assert "| v2 | 1 | – | 5 |" in text


def test_a_figure_that_is_there_twice_is_refused():
    twice = [result(name, row(*OMNIGLOT, "5-way 1-shot", 0.9)) for name in ("old", "new")]
    with pytest.raises(
        ValueError, match=r"some/old and some/new both hold 5-way 1-shot accuracy of ProtoNet on omniglot test of seed 1"
    ):
        render("classification-few-shot", twice)


def test_seeds_in_a_row_are_written_short():
    for seeds, written in (((2, 0, 1), "0, 1, 2"), ((0, 1, 2, 3, 7), "0–3, 7"), ((5, 3, 9, 8, 7, 6), "3, 5–9"), ((), "")):
        assert seeds_of([{"seeds": [seed]} for seed in seeds]) == written
