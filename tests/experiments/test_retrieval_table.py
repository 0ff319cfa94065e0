"""The comparison by retrieval: its columns, its sums over seeds, and that other tables leave its figures out."""

import repmet.experiments.classification_tables
import repmet.experiments.retrieval_table  # noqa: F401  (these register tables)
from repmet.experiments.result_tables import NOTHING, Result
from repmet.experiments.results import render


def result(name: str, method: str, seed: int = 0, dataset: str = "Omniglot", **figures: float) -> Result:
    names = {"r1": "recall@1", "mapr": "MAP@R", "norm": "AUROC by norm", "ned": "NED accuracy"}
    own = {"dataset": dataset, "split": "test", "method": method, "ci95": None, "n": 10, "seeds": [seed]}
    return Result(name, {"experiment": name, "results": [own | {"metric": names[k], "mean": v} for k, v in figures.items()]})


def test_columns_are_sets_and_figures_and_seeds_are_summed_up():
    parts = [
        result("retrieval/a_0", "EL-nivMF, as released, conv4", 0, r1=0.5, mapr=0.25, ned=0.9),
        result("retrieval/a_1", "EL-nivMF, as released, conv4", 1, r1=0.7, mapr=0.25),
        result("retrieval/b_0", "Magnet, ResNet-18", 0, "cars", r1=0.125, norm=0.5),
        result("elsewhere", "Triplet, conv4", 0, r1=0.9),
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
    exact = [result(f"retrieval/a_{s}", "EL-nivMF, conv4", s, r1=r1) for s, r1 in enumerate((0.5, 0.7, 0.9))]
    released = [result(f"retrieval/b_{s}", "EL-nivMF, as released, conv4", s, r1=r1) for s, r1 in ((1, 0.6), (2, 0.82))]
    others = [result("retrieval/c_0", "EL-vMF, conv4", 0, r1=0.1), result("retrieval/c_1", "EL-vMF, conv4", 1, r1=0.1)]
    lines = render("classification-retrieval-differences", [*exact, *released, *others]).splitlines()
    gaps = " | ".join(["–"] * 4)
    assert lines[2:] == [
        f"| EL-nivMF, as released | -9.0 ± 12.7 | {gaps} |",
        "| seeds | 1, 2 |  |  |  |  |",
    ]  # 12.71 is t of one degree of freedom
    assert render("classification-retrieval-differences", exact) == NOTHING


def test_retrieval_figures_are_no_errors_of_classes():
    own = result("retrieval/a_0", "EL-nivMF, conv4", r1=0.5, ned=0.9)
    text = render("classification-errors", [own])
    assert "EL-nivMF" not in text and "recall" not in text and "NED" not in text
