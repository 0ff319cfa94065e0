"""The comparisons of methods: by their errors, which error is taken and from where, and by retrieval."""

from repmet.benchmarks.tables.formatting import NOTHING
from repmet.benchmarks.tables.pages import render
from repmet.benchmarks.tables.runs import Run
from tests.benchmarks.tables.conftest import accuracy, classified, kept


def row(method, metric, mean, *, dataset="flowers17", split="test", seed=0) -> dict:
    return accuracy(dataset, split, method, metric, mean, ci95=0.01, n=100, seeds=[seed])


def result(name: str, *rows: dict) -> Run:
    family, _, name = name.rpartition("/")
    return classified(name, *rows, family=family or "some")


def retrieved(name: str, method: str, seed: int = 0, dataset: str = "Omniglot", **figures: float) -> Run:
    names = {"r1": "recall@1", "mapr": "MAP@R", "norm": "AUROC by norm", "ned": "NED accuracy"}
    of = {"dataset": dataset, "split": "test", "method": method, "ci95": None, "n": 10, "seeds": [seed]}
    rows = [of | {"metric": names[key], "mean": mean} for key, mean in figures.items()]
    family, _, name = name.rpartition("/")
    return kept(name, {"experiment": name, "results": rows, "risk_coverage": {}}, family or "some")


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


def test_seeds_are_summed_up_and_other_families_left_out():
    results = [result(f"comparison/{s}", row("Triplet, conv4", "repmet", m, seed=s)) for s, m in enumerate((0.7, 0.8))]
    text = render("classification-comparison", [*results, result("digits", row("Free prototypes", "repmet", 0.9))])
    assert "| Triplet | 25.0 ± " in text and "| seeds | 0, 1 |" in text and "digits" not in text
    assert render("classification-comparison", [result("digits", row("Free", "repmet", 0.9))]) == NOTHING


def test_retrieval_columns_are_sets_and_figures_and_seeds_are_summed_up():
    parts = [
        retrieved("retrieval/a_0", "EL-nivMF, as released, conv4", 0, r1=0.5, mapr=0.25, ned=0.9),
        retrieved("retrieval/a_1", "EL-nivMF, as released, conv4", 1, r1=0.7, mapr=0.25),
        retrieved("retrieval/b_0", "Magnet, ResNet-18", 0, "cars", r1=0.125, norm=0.5),
        retrieved("elsewhere", "Triplet, conv4", 0, r1=0.9),
    ]
    lines = render("classification-retrieval", parts).splitlines()
    figures = ("recall@1", "MAP@R", "AUROC by norm", "AUROC by cosine", "AUROC by log-PPK")
    head = [f"{place}: {figure}" for place in ("Omniglot, conv4", "cars, ResNet-18") for figure in figures]
    assert lines[0] == f"| method | {' | '.join(head)} |"
    gaps = " | ".join(["–"] * 3)
    assert lines[2].startswith("| EL-nivMF, as released | 60.0 ± ")
    assert f" | 25.0 ± 0.0 | {gaps} | " in lines[2]
    assert lines[3] == f"| Magnet | {' | '.join(['–'] * 5)} | 12.5 | – | 50.0 | – | – |"
    assert lines[4].startswith("| seeds | 0, 1 | 0, 1 | ") and len(lines) == 5
    assert render("classification-retrieval", parts[3:]) == NOTHING


def test_released_forms_are_compared_seed_by_seed():
    exact = [retrieved(f"retrieval/a_{s}", "EL-nivMF, conv4", s, r1=r1) for s, r1 in enumerate((0.5, 0.7, 0.9))]
    released = [retrieved(f"retrieval/b_{s}", "EL-nivMF, as released, conv4", s, r1=r1) for s, r1 in ((1, 0.6), (2, 0.82))]
    others = [retrieved("retrieval/c_0", "EL-vMF, conv4", 0, r1=0.1), retrieved("retrieval/c_1", "EL-vMF, conv4", 1, r1=0.1)]
    lines = render("classification-retrieval-differences", [*exact, *released, *others]).splitlines()
    gaps = " | ".join(["–"] * 4)
    assert lines[2:] == [
        f"| EL-nivMF, as released | -9.0 ± 12.7 | {gaps} |",
        "| seeds | 1, 2 |  |  |  |  |",
    ]  # 12.71 is t of one degree of freedom
    assert render("classification-retrieval-differences", exact) == NOTHING


def test_retrieval_figures_are_no_errors_of_classes():
    retrieval = retrieved("retrieval/a_0", "EL-nivMF, conv4", r1=0.5, ned=0.9)
    text = render("classification-errors", [retrieval])
    assert "EL-nivMF" not in text and "recall" not in text and "NED" not in text
