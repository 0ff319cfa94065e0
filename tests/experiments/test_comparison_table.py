"""The comparison of methods: which error it takes, where from, and how it lies."""

import repmet.experiments.comparison_table  # noqa: F401  (registers the table)
from repmet.experiments.result_tables import NOTHING, Result
from repmet.experiments.results import render


def row(method, metric, mean, *, dataset="flowers17", split="test", seed=0) -> dict:
    own = {"dataset": dataset, "split": split, "method": method, "metric": f"{metric} accuracy"}
    return own | {"mean": mean, "ci95": 0.01, "n": 100, "seeds": [seed]}


def result(name: str, *rows: dict) -> Result:
    return Result(name, {"experiment": name, "results": list(rows)})


def test_a_method_is_judged_by_its_own_rule():
    softmax = [
        row("Softmax, conv4", metric, mean) for metric, mean in (("simple", 0.5), ("repmet", 0.6), ("classifier", 0.8))
    ]
    repmet = [row("RepMet v1, conv4", metric, mean) for metric, mean in (("simple", 0.5), ("repmet", 0.9))]
    text = render("classification-comparison", [result("comparison/a", *softmax), result("comparison/b", *repmet)])
    assert text.splitlines() == [
        "| method | flowers17, conv4 |",
        "| --- | ---: |",
        "| RepMet v1 | 10.0 ± 1.0 |",
        "| Softmax | 20.0 ± 1.0 |",
        "| seeds | 0 |",
    ]


def test_columns_are_sets_and_encoders_and_gaps_are_shown():
    parts = [
        result(
            "comparison/a",
            row("MyLoss, squared, conv4", "repmet", 0.9),
            row("MyLoss, squared, conv4", "repmet", 1, split="train"),
        ),
        result("comparison/b", row("Triplet, ResNet-18 frozen", "repmet", 0.7, dataset="caltech101")),
    ]
    lines = render("classification-comparison", parts).splitlines()
    assert lines[0] == "| method | caltech101, ResNet-18 frozen | flowers17, conv4 |"
    assert lines[2:] == ["| MyLoss, squared | – | 10.0 ± 1.0 |", "| Triplet | 30.0 ± 1.0 | – |", "| seeds | 0 | 0 |"]


def test_every_column_says_its_seeds_and_a_cell_where_it_has_others():
    def trained(method, seed, dataset):
        return result(
            f"comparison/{dataset}{method}{seed}", row(f"{method}, conv4", "repmet", 0.9, seed=seed, dataset=dataset)
        )

    parts = [trained(method, seed, "flowers17") for method in ("Triplet", "Magnet") for seed in (0, 1, 2)]
    parts += [trained("Triplet", 0, "omniglot"), trained("Magnet", 0, "omniglot"), trained("Magnet", 1, "omniglot")]
    assert render("classification-comparison", parts).splitlines()[2:] == [
        "| Magnet | 10.0 ± 0.0 | 10.0 ± 0.0 |",
        "| Triplet | 10.0 ± 0.0 | 10.0 ± 1.0 (0) |",
        "| seeds | 0, 1, 2 | 0, 1 |",
    ]


def test_seeds_are_summed_up_and_other_folders_left_out():
    own = [result(f"comparison/{s}", row("Triplet, conv4", "repmet", m, seed=s)) for s, m in enumerate((0.7, 0.8))]
    text = render("classification-comparison", [*own, result("digits", row("Free prototypes", "repmet", 0.9))])
    assert "| Triplet | 25.0 ± " in text and "| seeds | 0, 1 |" in text and "digits" not in text
    assert render("classification-comparison", [result("digits", row("Free", "repmet", 0.9))]) == NOTHING
