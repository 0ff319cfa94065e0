import pytest
import torch
from mmengine.config import Config

from repmet.classification.checkpoint import Trained
from repmet.classification.methods import ProtoNet
from repmet.classification.protocols.lake import check_unseen, one_shot_row, run_accuracies
from repmet.data.sources.omniglot_runs import OneShotRuns, one_shot_runs


def trained(**data) -> Trained:
    method = ProtoNet({"type": "Conv4", "width": 4}, way=2, shot=1).eval()
    data = {"source": "omniglot", "train": "lake_train", "root": None} | data
    return Trained(Config({"data": data, "test_pipeline": [{"type": "InkIsOne"}], "episodes": {}}), method, "x", 5)


def test_accuracy_of_a_run_against_a_loop():
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (60, 1, 28, 28), dtype=torch.uint8, generator=generator)
    order = torch.randperm(60, generator=generator)
    support, query = order[:30].view(6, 5), order[30:].view(6, 5)
    answers = torch.stack([torch.randperm(5, generator=generator) for _ in range(6)])
    network = trained()
    accuracies = run_accuracies(network, OneShotRuns(images, support, query, answers, generated=True))
    with torch.no_grad():
        x = network.method(1 - images.float() / 255)
    for r in range(6):
        right = [
            min(range(5), key=lambda c: (x[q] - x[support[r, c]]).square().sum().item()) == answers[r, k]
            for k, q in enumerate(query[r])
        ]
        assert accuracies[r].item() == pytest.approx(sum(right) / 5)


def test_the_row_says_that_the_runs_are_generated(repmet_data):
    network = trained(root=str(repmet_data))
    row = one_shot_row(network)
    runs = one_shot_runs(repmet_data, seed=0)
    assert ("generated" in row["dataset"]) == runs.generated
    assert (row["metric"], row["n"], row["seeds"]) == ("20-way 1-shot accuracy", 20, [5])
    assert 0.05 < row["mean"] < 0.9  # an untrained network is above chance


def test_alphabets_that_were_trained_on_are_refused():
    check_unseen(trained())
    for data in ({"train": "train"}, {"source": "glyph_characters"}):
        with pytest.raises(ValueError, match="one_shot_runs: Lake's runs are of Omniglot's evaluation alphabets"):
            check_unseen(trained(**data))
