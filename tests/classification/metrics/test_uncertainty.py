"""AUROC against scikit-learn and its definition, risk and coverage by counting, scores of what was retrieved."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from repmet.classification.metrics.retrieval import retrieve
from repmet.classification.metrics.uncertainty import (
    area_under_risk,
    auroc,
    certainties,
    risk_coverage,
    risk_curves,
    uncertainty_figures,
)
from repmet.model_definitions.vmf import log_normaliser_at_zero, log_probability_product


@pytest.mark.parametrize("levels", (3, 1000))
def test_auroc(levels):
    torch.manual_seed(levels)
    correct = torch.rand(200) < 0.7
    scores = (torch.randint(0, levels, (200,)) + correct.long() * levels // 3).float()
    assert auroc(scores, correct) == pytest.approx(roc_auc_score(correct, scores), abs=1e-12)
    right, wrong = scores[correct][:, None], scores[~correct]
    assert auroc(scores, correct) == pytest.approx(((right > wrong).double() + (right == wrong) / 2).mean().item())
    assert math.isnan(auroc(scores, torch.ones(200, dtype=torch.bool)))
    assert auroc(torch.zeros(200), correct) == 0.5


def test_risk_and_coverage():
    scores = torch.tensor([0.9, 0.1, 0.5, 0.5, 0.7])
    correct = torch.tensor([True, False, False, True, True])
    coverage, risk = risk_coverage(scores, correct)
    assert coverage.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert risk.tolist() == pytest.approx([0, 0, 0.25, 0.25, 0.4])  # the two of 0.5 are kept together
    assert area_under_risk(scores, correct) == pytest.approx(0.18)
    assert area_under_risk(correct.float(), correct) < area_under_risk(-correct.float(), correct)


@pytest.mark.parametrize("levels", (4, 1000))
def test_risk_against_a_loop(levels):
    torch.manual_seed(levels)
    scores, correct = torch.randint(0, levels, (150,)).float(), torch.rand(150) < 0.6
    coverage, risk = risk_coverage(scores, correct)
    ranked = scores.sort(descending=True).values.tolist()
    for i in range(150):
        kept = [c for s, c in zip(scores.tolist(), correct.tolist(), strict=True) if s >= ranked[i]]
        assert coverage[i].item() == pytest.approx((i + 1) / 150)
        assert risk[i].item() == pytest.approx(kept.count(False) / len(kept))


def test_curves_of_what_was_retrieved():
    torch.manual_seed(3)
    embeddings, labels = torch.randn(90, 8) * 3, torch.arange(90) % 3
    retrieved = retrieve(embeddings, labels)
    scores = certainties(retrieved, embeddings)
    for points, places in ((1000, range(90)), (9, range(9, 90, 10))):
        curves = risk_curves(retrieved, embeddings, points=points)
        assert list(curves) == ["norm", "cosine", "log-PPK"]
        for name, curve in curves.items():
            coverage, risk = risk_coverage(scores[name], retrieved.correct)
            assert curve["coverage"] == pytest.approx([coverage[i].item() for i in places], abs=1e-5)
            assert curve["risk"] == pytest.approx([risk[i].item() for i in places], abs=1e-5)
            assert curve["risk"][-1] == pytest.approx(1 - retrieved.means()["recall@1"], abs=1e-5)


def test_scores_of_what_was_retrieved():
    torch.manual_seed(0)
    embeddings, labels = torch.randn(40, 16) * 5, torch.arange(40) % 4
    labels[0] = 99  # a lone query is not retrieved
    retrieved = retrieve(embeddings, labels)
    scores = certainties(retrieved, embeddings)
    for i, (q, r) in enumerate(zip(retrieved.queries.tolist(), retrieved.nearest.tolist(), strict=True)):
        a, b = embeddings[q], embeddings[r]
        cosine = F.cosine_similarity(a, b, dim=0)
        assert scores["norm"][i].item() == pytest.approx(a.norm().item(), rel=1e-5)
        assert scores["cosine"][i].item() == pytest.approx(cosine.item(), rel=1e-5)
        product = log_probability_product(a.norm(), b.norm(), cosine, 16) - log_normaliser_at_zero(16)
        assert scores["log-PPK"][i].item() == pytest.approx(product.item(), abs=1e-4)
    assert len(scores["norm"]) == 39
    figures = uncertainty_figures(retrieved, embeddings)
    assert set(figures) == {f"{kind} by {name}" for kind in ("AUROC", "AURC") for name in ("norm", "cosine", "log-PPK")}
    assert figures["AURC by norm"] == area_under_risk(scores["norm"], retrieved.correct)


def test_a_norm_that_tells_certainty_is_found():
    torch.manual_seed(1)
    labels = torch.arange(200) % 4
    clear = torch.rand(200) < 0.5
    direction = F.normalize(torch.eye(8)[labels] + torch.where(clear, 0.05, 2.0)[:, None] * torch.randn(200, 8), dim=1)
    embeddings = direction * torch.where(clear, 20.0, 2.0)[:, None]
    figures = uncertainty_figures(retrieve(embeddings, labels), embeddings)
    assert figures["AUROC by norm"] > 0.8 and figures["AUROC by log-PPK"] > 0.8


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"not \(3,\) and \(2,\)"):
        auroc(torch.ones(3), torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        risk_coverage(torch.tensor([math.nan, 1]), torch.tensor([True, False]))
