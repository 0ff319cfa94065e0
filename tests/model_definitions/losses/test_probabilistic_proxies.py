"""Similarities of proxies against the vMF functions, the guidance against PML, and that training by each works."""

import math

import pytest
import torch
import torch.nn.functional as F

from repmet.model_definitions.losses.probabilistic_proxies import (
    SIMILARITIES,
    ProbabilisticProxies,
    binomial_deviance,
    proxy_anchor_loss,
)
from repmet.model_definitions.nivmf import expected_likelihood, nivmf_log_density
from repmet.model_definitions.vmf import kl_divergence, log_normaliser, log_probability_product

C, D, B = 5, 16, 12


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return 12 * F.normalize(torch.randn(B, D), dim=1) * torch.rand(B, 1).add(0.5), torch.arange(B) % C


def expected(proxies: ProbabilisticProxies, e: torch.Tensor) -> torch.Tensor:
    """Each similarity by its definition, pair by pair, constants and all."""
    mu, t = proxies.means, proxies.log_temperature.exp()
    k = None if proxies.log_kappas is None else proxies.log_kappas.exp()
    rows = []
    for x in e:
        k1 = x.norm()
        m1, row = x / k1, []
        for c in range(C):
            cosine = m1 @ mu[c]
            if proxies.similarity == "cosine":
                value = cosine
            elif proxies.similarity == "l2":
                value = -(x - k[c] * mu[c]).square().sum()
            elif proxies.similarity == "nivmf":
                value = nivmf_log_density(m1[None], mu[c][None], k[c][None], proxies.density)[0, 0]
            elif proxies.similarity == "kl_vmf":
                value = -kl_divergence(k1, k[c, 0], cosine, D)
            elif proxies.similarity == "kl_vmf_released":
                value = log_normaliser(k1, D) - log_normaliser(k[c, 0], D) + k1 - k[c, 0] * cosine
            else:
                value = log_probability_product(k1, k[c, 0], cosine, D, 1.0 if proxies.similarity == "el_vmf" else 0.5)
            row.append(value / t)
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("name", [s for s in SIMILARITIES if not s.startswith("el_nivmf")])
def test_similarities_are_their_definitions(name):
    torch.manual_seed(0)
    proxies = ProbabilisticProxies(C, D, name, temperature=0.5, concentration=9).double()
    if proxies.log_kappas is not None:
        torch.nn.init.normal_(proxies.log_kappas, 2.0, 0.3)
    e = batch()[0][:3].double()
    similarities, wanted = proxies(e), expected(proxies, e)
    torch.testing.assert_close(similarities.log_softmax(1), wanted.log_softmax(1), rtol=0, atol=1e-6)


def test_expected_likelihood_draws_from_the_images():
    proxies = ProbabilisticProxies(C, D, temperature=0.1, samples=7, density="paper", tempering="outside").double()
    e = batch()[0].double()
    torch.manual_seed(1)
    similarities = proxies(e)
    torch.manual_seed(1)
    kappas = proxies.log_kappas.exp()
    wanted = expected_likelihood(
        F.normalize(e, dim=1), e.norm(dim=1), proxies.means, kappas, temperature=proxies.log_temperature.exp(), samples=7,
        density="paper", tempering="outside",
    )  # fmt: skip
    torch.testing.assert_close(similarities.log_softmax(1), wanted.log_softmax(1))


CORRECT = [name for name in SIMILARITIES if name != "kl_vmf_released"]


@pytest.mark.parametrize("name", CORRECT)
def test_training_moves_images_to_their_proxies(name):
    torch.manual_seed(2)
    e, labels = batch()
    e = e.requires_grad_()
    proxies = ProbabilisticProxies(C, D, name, temperature=0.5, concentration=10)
    optimizer = torch.optim.Adam([{"params": [e], "lr": 0.6}, {"params": proxies.parameters(), "lr": 0.1}])
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(F.cross_entropy(proxies(e), labels))
        losses[-1].backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in (e, *proxies.parameters()))
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0] and (proxies(e).argmax(1) == labels).all()
    cosine = F.normalize(e, dim=1) @ proxies.means.T
    assert (cosine.argmax(1) == labels).all()


@pytest.mark.parametrize("name", ("kl_vmf", "el_vmf", "nivmf", "el_nivmf_closed"))
def test_a_step_towards_the_own_proxy_lowers_the_loss(name):
    torch.manual_seed(3)
    proxies = ProbabilisticProxies(C, D, name, temperature=1.0, concentration=10).double()
    e, labels = batch()
    targets = 12 * proxies.means[labels]
    far, near = (F.cross_entropy(proxies(torch.lerp(e.double(), targets, w)), labels) for w in (0.0, 0.5))
    assert near < far


def test_the_released_divergence_has_the_wrong_sign():
    torch.manual_seed(3)
    proxies = ProbabilisticProxies(C, D, "kl_vmf_released", temperature=1.0, concentration=10).double()
    e, labels = batch()
    targets = 12 * proxies.means[labels]
    far, near = (F.cross_entropy(proxies(torch.lerp(e.double(), targets, w)), labels) for w in (0.0, 0.5))
    assert near > far


def test_released_parts_reach_the_similarities():
    torch.manual_seed(8)
    e = 4 * batch()[0]
    for name, options in (
        ("el_nivmf", {"normaliser": "released"}),
        ("el_nivmf", {"sampler": "released", "gradient": "none"}),
        ("el_nivmf_closed", {"normaliser": "released"}),
        ("nivmf", {"normaliser": "released_512"}),
        ("el_vmf", {"normaliser": "released"}),
        ("b_vmf", {"normaliser": "released"}),
        ("kl_vmf_released", {"normaliser": "released_512"}),
    ):
        similarities = []
        for chosen in ({}, options):
            torch.manual_seed(9)
            proxies = ProbabilisticProxies(C, D, name, temperature=1.0, concentration=40, **chosen)
            with torch.no_grad():
                proxies.log_kappas.add_(0.3 * torch.arange(C)[:, None])
            torch.manual_seed(10)
            similarities.append(proxies(e).log_softmax(1))
        assert similarities[1].isfinite().all() and (similarities[0] - similarities[1]).abs().max() > 0.05, name


def test_some_classes_have_the_similarities_that_they_have_among_all():
    torch.manual_seed(11)
    chosen = torch.tensor([0, 2, 3])
    for name in SIMILARITIES:
        proxies, e = ProbabilisticProxies(C, D, name, temperature=0.5), batch()[0]
        torch.manual_seed(12)
        whole = proxies(e)[:, chosen]
        torch.manual_seed(12)
        torch.testing.assert_close(proxies(e, chosen).log_softmax(1), whole.log_softmax(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("over", ("images", "classes"))
def test_binomial_deviance_against_a_loop(over):
    torch.manual_seed(13)
    sim, labels = torch.randn(B, C, dtype=torch.float64, requires_grad=True), batch()[1]
    total = 0.0
    for sign in (True, False):
        sums = []
        for i in range(C if over == "images" else B):
            pairs = [(b, i) for b in range(B)] if over == "images" else [(i, c) for c in range(C)]
            chosen = [sim[b, c] for b, c in pairs if (labels[b] == c).item() == sign]
            sums.append(torch.log(1 + sum(torch.exp((-2 if sign else 2) * (s - 0.3)) for s in chosen)))
        total = total + torch.stack(sums).mean()
    torch.testing.assert_close(binomial_deviance(sim, labels, 2.0, 0.3, over), total)
    assert torch.autograd.gradcheck(lambda s: binomial_deviance(s, labels, 2.0, 0.3, over), sim)
    assert binomial_deviance(sim[:0], labels[:0], over=over) == 0
    with pytest.raises(ValueError, match="over images or classes, not 'batch'"):
        binomial_deviance(sim, labels, over="batch")


def test_warm_start_and_positive_concentrations():
    torch.manual_seed(4)
    proxies = ProbabilisticProxies(3, 4, concentration=5)
    before = proxies.directions[2].clone()
    e = torch.tensor([[2.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 7]])
    proxies.start(e, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(proxies.means[0], torch.tensor([1.0, 1, 0, 0]) / math.sqrt(2))
    torch.testing.assert_close(proxies.means[1], torch.tensor([0.0, 0, 0, 1]))
    assert torch.equal(proxies.directions[2], before)
    with torch.no_grad():
        proxies.log_kappas -= 20  # a huge step
    assert (proxies.log_kappas.exp() > 0).all() and proxies(e).isfinite().all()


def test_temperature_is_learnt_or_stays():
    learnt, fixed = (ProbabilisticProxies(C, D, "el_vmf", learnable_temperature=x) for x in (True, False))
    assert "log_temperature" in dict(learnt.named_parameters())
    assert "log_temperature" not in dict(fixed.named_parameters()) and "log_temperature" in fixed.state_dict()


def test_half_precision_neither_reaches_the_mathematics_nor_the_parameters():
    torch.manual_seed(5)
    for name in SIMILARITIES:
        proxies = ProbabilisticProxies(C, D, name, temperature=0.5)
        e = batch()[0]
        with torch.autocast("cpu", torch.bfloat16):
            torch.manual_seed(6)
            inside = proxies(e.bfloat16())
        torch.manual_seed(6)
        assert inside.dtype == torch.float32 and torch.equal(inside, proxies(e.bfloat16().float()))
        assert all(p.dtype == torch.float32 for p in proxies.parameters())


def test_a_zero_embedding_has_a_gradient():
    for name in SIMILARITIES:
        e = torch.zeros(2, D, requires_grad=True)
        loss = F.cross_entropy(ProbabilisticProxies(C, D, name)(e), torch.tensor([0, 1]))
        loss.backward()
        assert loss.isfinite() and e.grad.isfinite().all()


def test_the_guidance_is_proxy_anchor():
    pml = pytest.importorskip("pytorch_metric_learning.losses")
    torch.manual_seed(7)
    e, labels = batch()
    theirs = pml.ProxyAnchorLoss(C, D, margin=0.2, alpha=16)
    for truth in (labels, torch.tensor([1, 1, 1, 3, 3, 0, 0, 0, 0, 0, 1, 1])):
        cosines = F.normalize(e, dim=1) @ F.normalize(theirs.proxies.detach(), dim=1).T
        torch.testing.assert_close(
            proxy_anchor_loss(cosines, truth, 0.2, 16), theirs(e, truth).detach(), rtol=1e-5, atol=1e-5
        )
    assert proxy_anchor_loss(torch.zeros(0, C, requires_grad=True), torch.zeros(0, dtype=torch.long)) == 0


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"similarity is one of el_nivmf, .*, not 'kl'"):
        ProbabilisticProxies(C, D, "kl")
    with pytest.raises(ValueError, match="density is one of exact, paper, released, not 'new'"):
        ProbabilisticProxies(C, D, density="new")
    with pytest.raises(ValueError, match="with sampler released, gradient is pathwise or none"):
        ProbabilisticProxies(C, D, sampler="released")
    with pytest.raises(ValueError, match="kl_vmf is exact; normaliser released goes with kl_vmf_released"):
        ProbabilisticProxies(C, D, "kl_vmf", normaliser="released")
    with pytest.raises(ValueError, match="normaliser is one of exact, released, released_512, not 'fit'"):
        ProbabilisticProxies(C, D, normaliser="fit")
    with pytest.raises(ValueError, match=r"must be positive, not 0 and 0.01"):
        ProbabilisticProxies(C, D, concentration=0)
    with pytest.raises(ValueError, match=r"of 16 dimensions take embeddings \(B, D\), not \(2, 8\)"):
        ProbabilisticProxies(C, D)(torch.ones(2, 8))
