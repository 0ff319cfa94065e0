"""Paired differences of costs: against scipy's paired t test, on real run folders, and what is not paired."""

import json

import pytest
import torch
from scipy import stats

from repmet.classification.evaluate import run
from repmet.classification.protocols.cost_difference import Mistakes, differences, main
from repmet.experiments.config.loading import load_experiment
from tests.classification.conftest import CLOSED
from tests.classification.protocols.test_cost_report import GUIDED
from tests.classification.test_train import train


def made(method: str, seed: int, costs: torch.Tensor, **over) -> Mistakes:
    labels = torch.arange(len(costs)) % 3
    return Mistakes("digits", "test", method, seed, costs, f"images of split {seed}", labels)._replace(**over)


def test_both_intervals_are_those_of_paired_differences():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 4, 50, dtype=torch.double, generator=generator)
    rows = differences([made("a", s, a[s]) for s in (0, 1, 2, 3)], [made("b", s, b[s]) for s in (3, 2, 1, 0)])
    seeds, images = rows
    wanted = stats.ttest_rel(b.mean(1), a.mean(1)).confidence_interval(0.95)
    assert seeds["mean"] - seeds["ci95"] == pytest.approx(wanted.low)
    assert seeds["mean"] + seeds["ci95"] == pytest.approx(wanted.high)
    d = (b - a).flatten()
    assert images["mean"] == pytest.approx(seeds["mean"]) == pytest.approx(d.mean().item())
    assert images["ci95"] == pytest.approx(stats.t.ppf(0.975, 199) * d.std().item() / 200**0.5)
    assert (seeds["n"], images["n"], seeds["seeds"]) == (4, 200, [0, 1, 2, 3])
    assert (seeds["method"], seeds["against"], seeds["over"], images["over"]) == ("a", "b", "seeds", "images")


def test_what_is_not_paired_is_refused():
    costs = torch.rand(6, dtype=torch.double)
    a, b = made("a", 0, costs), made("b", 0, costs)
    for first, others, message in (
        ([a], [b._replace(seed=1)], r"paired by seed: \[0\] do not go with \[1\]"),
        ([a, a], [b, b], r"paired by seed: \[0, 0\]"),
        ([a, b], [b], "one method on one data set, and this one is: a on digits, b on digits"),
        ([a], [b._replace(images="others")], "seed 0: a and b were not tested on the same images"),
    ):
        with pytest.raises(ValueError, match=message):
            differences(first, others)


def test_run_folders_differ_by_their_average_costs(experiment, tmp_path, capsys):
    path = experiment(CLOSED, over=GUIDED + "report: {method: guided}\n")
    free = path.with_name("free.yaml")
    free.write_text(f"_base_: {path.name}\nmodel: {{guidance: null}}\nreport: {{method: free}}\n")
    cost = {}
    for name, yaml in (("guided", path), ("free", free)):
        assert train(yaml, "--work-dir", tmp_path / name) == 0
        rows = run(load_experiment(yaml), str(tmp_path / name), tmp_path / name)["costs"]
        cost[name] = next(row["mean"] for row in rows if row["metric"] == "average cost")
    out = tmp_path / "difference.json"
    capsys.readouterr()
    assert main([str(tmp_path / "guided"), "--against", str(tmp_path / "free"), "--out", str(out)]) == 0
    assert "guided cost less than free on digits test by" in capsys.readouterr().out
    seeds, images = json.loads(out.read_text())["cost_differences"]
    assert seeds["mean"] == pytest.approx(cost["free"] - cost["guided"]) and seeds["ci95"] is None and images["n"] == 60
    assert main([str(tmp_path), "--against", str(tmp_path / "free")]) == 2
    assert "a run folder without a checkpoint" in capsys.readouterr().err
