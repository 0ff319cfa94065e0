"""Our losses under PML's contract: miners, reducers, regularisers, trainers, processes, half precision, checkpoints."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from pytorch_metric_learning import distances, miners, reducers, regularizers, trainers
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning.utils.distributed import DistributedLossWrapper
from torch import nn

from repmet.classification.pml.losses import MagnetLoss, ProbabilisticProxyLoss, PrototypicalLoss, RepMetLoss
from repmet.model_definitions.losses.magnet import magnet_loss
from repmet.model_definitions.losses.probabilistic_proxies import binomial_deviance, proxy_anchor_loss
from repmet.model_definitions.losses.prototypical import prototypical_loss
from repmet.model_definitions.losses.repmet import repmet_cvpr

C, D, EACH = 4, 6, 4
OURS = {
    "proxies": lambda **kw: ProbabilisticProxyLoss(C, D, "el_vmf", temperature=0.5, **kw),
    "guided": lambda **kw: ProbabilisticProxyLoss(C, D, "nivmf", temperature=0.5, guidance_weight=0.7, **kw),
    "repmet": lambda **kw: RepMetLoss(C, D, num_modes=2, **kw),
    "magnet": lambda **kw: MagnetLoss(**kw),
    "prototypes": lambda **kw: PrototypicalLoss(shot=1, **kw),
}
LABELS = torch.arange(C).repeat(EACH)  # in turn, not class by class


def embeddings(seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return (3 * torch.randn(C * EACH, D) + 2 * torch.eye(D)[LABELS]).requires_grad_()


def made(name: str, **kwargs) -> nn.Module:
    torch.manual_seed(1)
    return OURS[name](**kwargs)


def test_values_are_those_of_the_losses_themselves():
    e = embeddings()
    proxies, guided, repmet = made("proxies"), made("guided"), made("repmet")
    torch.testing.assert_close(proxies(e, LABELS), F.cross_entropy(proxies.get_logits(e), LABELS))
    anchor = proxy_anchor_loss(F.normalize(e, dim=1) @ guided.proxies.means.T, LABELS)
    torch.testing.assert_close(guided(e, LABELS), F.cross_entropy(guided.get_logits(e), LABELS) + 0.7 * anchor)
    torch.testing.assert_close(repmet(e, LABELS), repmet_cvpr(repmet.representatives(e), LABELS))
    grouped = e.unflatten(0, (EACH, C)).transpose(0, 1)  # (C, EACH, D)
    torch.testing.assert_close(made("magnet")(e, LABELS), magnet_loss(grouped, torch.arange(C))[0])
    expected = prototypical_loss(grouped[:, :1].flatten(0, 1), grouped[:, 1:].flatten(0, 1), C)[0]
    torch.testing.assert_close(made("prototypes")(e, LABELS), expected)


@pytest.mark.parametrize("name", ("proxies", "guided", "repmet"))
def test_the_most_likely_class_is_that_of_the_logits(name):
    loss, e = made(name), embeddings()
    optimizer = torch.optim.Adam([*loss.parameters(), e], lr=0.2)
    for _ in range(40):
        optimizer.zero_grad()
        loss(e, LABELS).backward()
        optimizer.step()
    assert (loss.get_logits(e).argmax(1) == LABELS).all()


@pytest.mark.parametrize("name", OURS)
def test_miners_weigh_the_samples(name):
    loss, e = made(name), embeddings()
    for miner in (miners.TripletMarginMiner(margin=5.0), miners.PairMarginMiner(0.9, 0.1)):
        mined = miner(e, LABELS)
        assert len(mined) in (3, 4)
        assert torch.isfinite(loss(e, LABELS, mined))
    only = (torch.tensor([0]), torch.tensor([4]), torch.tensor([1]))  # one triplet: of three samples
    loss.set_reducer(reducers.DoNothingReducer())
    plain, weighed = loss(e, LABELS)["loss"], loss(e, LABELS, only)["loss"]
    chosen = torch.isin(plain["indices"], torch.tensor([0, 4, 1]))
    torch.testing.assert_close(weighed["losses"], plain["losses"] * chosen)


@pytest.mark.parametrize("name", OURS)
def test_reducers_and_statistics(name):
    e, plain = embeddings(), made(name, reducer=reducers.DoNothingReducer())(embeddings(), LABELS)["loss"]
    rest = made("guided")(e, LABELS) - plain["losses"].mean() if name == "guided" else 0
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    for reducer, expected in (
        (reducers.MeanReducer(), plain["losses"].mean()),
        (reducers.SumReducer(), plain["losses"].sum()),
        (reducers.ClassWeightedReducer(weights), (plain["losses"] * weights[LABELS[plain["indices"]]]).mean()),
    ):
        torch.testing.assert_close(made(name, reducer=reducer)(e, LABELS), expected + rest)
    assert torch.isfinite(made(name, collect_stats=True)(e, LABELS))


@pytest.mark.parametrize("name", OURS)
def test_regularizers(name):
    e = embeddings()
    guided = made(name, embedding_regularizer=regularizers.LpRegularizer(), embedding_reg_weight=0.5)
    torch.testing.assert_close(guided(e, LABELS), made(name)(e, LABELS) + 0.5 * e.norm(dim=1).mean())
    if name in ("proxies", "guided", "repmet"):
        guided = made(name, weight_regularizer=regularizers.LpRegularizer(), weight_reg_weight=0.5)
        weight = guided.proxies.directions if name != "repmet" else guided.representatives.weight.flatten(0, 1)
        torch.testing.assert_close(guided(e, LABELS), made(name)(e, LABELS) + 0.5 * weight.norm(dim=1).mean())


@pytest.mark.parametrize("name", OURS)
def test_several_losses_and_state(name):
    e, loss = embeddings(), made(name)
    both = pml_losses.MultipleLosses([loss, pml_losses.TripletMarginLoss()], weights=[0.5, 2.0])
    torch.testing.assert_close(both(e, LABELS), 0.5 * loss(e, LABELS) + 2 * pml_losses.TripletMarginLoss()(e, LABELS))
    torch.manual_seed(99)
    other = OURS[name]()
    other.load_state_dict(loss.state_dict())
    torch.testing.assert_close(other(e, LABELS), loss(e, LABELS))


@pytest.mark.parametrize("name", OURS)
def test_autocast_leaves_parameters_alone(name):
    loss, e = made(name), embeddings()
    types = {key: value.dtype for key, value in loss.state_dict().items()}
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            value = loss(e.to(dtype), LABELS)
        value.backward()
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, loss(e.to(dtype).float(), LABELS), rtol=0.05, atol=0.05)
    assert {key: value.dtype for key, value in loss.state_dict().items()} == types


@pytest.mark.parametrize("name", OURS)
def test_empty_batches_and_one_class(name):
    loss = made(name)
    for number in (0, 3):
        e = torch.randn(number, D, requires_grad=True)
        value = loss(e, torch.zeros(number, dtype=torch.long))
        value.backward()
        assert torch.isfinite(value) and torch.isfinite(e.grad).all()
        assert number or value == 0 or name == "guided"


def test_grouped_batches_are_asked_for():
    with pytest.raises(ValueError, match=r"MagnetLoss takes batches with as many samples.*not 1\.\.3; .*MPerClassSampler"):
        MagnetLoss()(torch.randn(4, D), torch.tensor([0, 0, 0, 1]))
    with pytest.raises(ValueError, match="at least 3, not 2"):
        PrototypicalLoss(shot=2)(torch.randn(4, D), torch.tensor([0, 0, 1, 1]))


def test_clusters_of_one_class_are_not_impostors():
    e = embeddings()
    grouped = e.unflatten(0, (EACH, C)).transpose(0, 1)
    expected = magnet_loss(grouped, torch.tensor([0, 0, 1, 1]))[0]
    torch.testing.assert_close(MagnetLoss(clusters_per_class=2)(e, LABELS), expected)


def test_learning_rates_of_their_own():
    groups = made("guided").parameter_groups(0.01, directions=50, concentrations=200, temperature=2)
    assert [(len(g["params"]), g["lr"], g["weight_decay"]) for g in groups] == [(1, 0.5, 0), (1, 2.0, 0), (1, 0.02, 0)]


@pytest.mark.parametrize("name", OURS)
def test_a_trainer_of_the_package(name):
    torch.manual_seed(2)
    inputs = torch.randn(C * EACH, 10)
    dataset = torch.utils.data.TensorDataset(inputs, LABELS)
    trunk, loss = nn.Linear(10, D), made(name)
    before = trunk.weight.detach().clone()
    optimizers = {"trunk_optimizer": torch.optim.SGD(trunk.parameters(), lr=0.1)}
    if list(loss.parameters()):
        optimizers["metric_loss_optimizer"] = torch.optim.SGD(loss.parameters(), lr=0.1)
    trainers.MetricLossOnly(
        models={"trunk": trunk},
        optimizers=optimizers,
        batch_size=C * EACH,
        loss_funcs={"metric_loss": loss},
        dataset=dataset,
        mining_funcs={},
        iterations_per_epoch=2,
        data_device="cpu",
        dataloader_num_workers=0,
    ).train(num_epochs=1)
    assert not torch.equal(trunk.weight, before) and all(p.isfinite().all() for p in loss.parameters())


def _process(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    loss, inputs = made("guided"), embeddings().detach()
    network = nn.parallel.DistributedDataParallel(_network())
    wrapped = DistributedLossWrapper(loss)
    part = slice(rank * 8, rank * 8 + 8)
    wrapped(network(inputs[part]), LABELS[part]).backward()
    if rank == 0:
        torch.save([p.grad for p in network.parameters()], f"{folder}/grads.pth")
    dist.destroy_process_group()


def _gathering(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    part = slice(rank * 8, rank * 8 + 8)
    values = {}
    for name in ("prototypes", "magnet"):
        wrapped = DistributedLossWrapper(made(name))
        values[name] = wrapped(embeddings()[part], LABELS[part]).item() / 2  # it multiplies by the number of processes
        values[f"{name} alone"] = made(name)(embeddings()[part], LABELS[part]).item()
    torch.save(values, f"{folder}/{rank}.pth")
    dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_every_process_has_the_supports_of_one(tmp_path):
    mp.start_processes(_gathering, (_free_port(), str(tmp_path)), nprocs=2, start_method="fork")
    for rank in range(2):
        values = torch.load(tmp_path / f"{rank}.pth")
        part = slice(rank * 8, rank * 8 + 8)
        for name in ("prototypes", "magnet"):
            assert values[name] == pytest.approx(made(name)(embeddings(), LABELS).item(), rel=1e-5)
            assert values[f"{name} alone"] == pytest.approx(made(name)(embeddings()[part], LABELS[part]).item(), rel=1e-5)


@pytest.mark.parametrize("name", OURS)
def test_a_distance_that_no_formula_reads_is_refused(name):
    with pytest.raises(ValueError, match=r"Loss takes no distance: its formula says which it is"):
        made(name, distance=distances.CosineSimilarity())


def _network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Linear(D, D)


def test_two_processes_have_the_gradient_of_one(tmp_path):
    mp.start_processes(_process, (_free_port(), str(tmp_path)), nprocs=2, start_method="fork")
    network = _network()
    made("guided")(network(embeddings().detach()), LABELS).backward()
    for ours, alone in zip(torch.load(tmp_path / "grads.pth"), network.parameters(), strict=True):
        torch.testing.assert_close(ours, alone.grad, rtol=1e-4, atol=1e-5)


def test_what_the_package_has_too_is_the_same():
    ours = ProbabilisticProxyLoss(C, D, "cosine", temperature=0.07, learnable_temperature=False)
    theirs = pml_losses.NormalizedSoftmaxLoss(C, D, temperature=0.07)
    theirs.W.data = ours.proxies.directions.detach().T.clone()
    gradients = []
    for loss in (ours, theirs):
        e = embeddings()
        value = loss(e, LABELS)
        gradients.append((value, *torch.autograd.grad(value, (e, *loss.parameters()))))
    torch.testing.assert_close(gradients[0][:2], gradients[1][:2], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients[0][2], gradients[1][2].T, rtol=1e-5, atol=1e-6)


def test_some_of_the_proxies():
    loss, e = ProbabilisticProxyLoss(40, D, "el_vmf", temperature=0.5, proxy_share=0.25), embeddings()
    labels = 3 + 5 * LABELS  # 3, 8, 13, 18 of 40 classes
    torch.manual_seed(2)
    classes, targets = loss._classes(labels)
    assert set(labels.tolist()) <= set(classes.tolist()) and len(classes) == 4 + 9 and torch.equal(classes[targets], labels)
    torch.manual_seed(2)
    value = loss(e, labels)
    torch.testing.assert_close(value, F.cross_entropy(loss.get_logits(e)[:, classes], targets))
    value.backward()
    moved = loss.proxies.directions.grad.abs().sum(1) > 0
    assert set(moved.nonzero().flatten().tolist()) == set(classes.tolist())
    torch.testing.assert_close(loss.eval()(e, labels), F.cross_entropy(loss.get_logits(e), labels))
    with pytest.raises(ValueError, match=r"proxy_share is a share from 0 to 1, not 1\.5"):
        ProbabilisticProxyLoss(C, D, proxy_share=1.5)


def test_the_deviance_in_the_place_of_the_cross_entropy():
    e = embeddings()
    options = {"deviance": "classes", "deviance_alpha": 3.0, "deviance_delta": 0.1}
    loss = ProbabilisticProxyLoss(C, D, "cosine", temperature=1.0, reducer=reducers.SumReducer(), **options)
    torch.testing.assert_close(loss(e, LABELS), binomial_deviance(loss.get_logits(e), LABELS, 3.0, 0.1, "classes"))
    with pytest.raises(ValueError, match="deviance is over images or classes, or null, not 'batch'"):
        ProbabilisticProxyLoss(C, D, deviance="batch")
