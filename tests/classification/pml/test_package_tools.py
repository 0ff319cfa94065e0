"""The package around the losses: its five trainers, testers, InferenceModel and samplers, with our methods as networks."""

from types import SimpleNamespace

import pytest
import torch
from pytorch_metric_learning import losses, miners, samplers, testers, trainers
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN, InferenceModel, MatchFinder
from sklearn.metrics import normalized_mutual_info_score
from torch import nn

from repmet.classification.methods import MetricLearning
from repmet.classification.metrics.retrieval import retrieve
from repmet.classification.pml.losses import ProbabilisticProxyLoss
from repmet.classification.pml.neighbours import Neighbours, clusters
from repmet.classification.pml.sampling import PmlBatchSampler, PmlSampler

C, D = 4, 6
LABELS = torch.arange(C).repeat_interleave(5)


def images() -> torch.utils.data.TensorDataset:
    torch.manual_seed(0)
    return torch.utils.data.TensorDataset(torch.rand(len(LABELS), 1, 8, 8) + LABELS[:, None, None, None] * 0.3, LABELS)


def network() -> MetricLearning:
    torch.manual_seed(1)
    return MetricLearning(
        {"type": "LeNet", "widths": [2, 4], "image_size": 8},
        {"type": "EmbeddingHead", "out_channels": D, "normalize": False},
        loss={"type": "pml.ProbabilisticProxyLoss", "similarity": "el_vmf"},
        num_classes=C,
    )


def sgd(*modules: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for m in modules for p in m.parameters()], lr=0.01)


def common(dataset) -> dict:
    return {
        "batch_size": 10,
        "dataset": dataset,
        "iterations_per_epoch": 2,
        "data_device": "cpu",
        "dataloader_num_workers": 0,
        "sampler": samplers.MPerClassSampler(LABELS, 2, length_before_new_iter=40),
    }


def test_trainers():
    loss = ProbabilisticProxyLoss(C, D, "el_vmf")
    metric = {"metric_loss": loss, "metric_loss_optimizer": sgd(loss)}
    miner = {"tuple_miner": miners.MultiSimilarityMiner()}
    for trainer in (trainers.MetricLossOnly, trainers.TrainWithClassifier, trainers.CascadedEmbeddings):
        trunk = network()
        models = {"trunk": trunk, "embedder": nn.Linear(D, D)}
        functions = {"metric_loss": loss}
        optimizers = {"trunk_optimizer": sgd(trunk), "metric_loss_optimizer": metric["metric_loss_optimizer"]}
        extra, mining = {}, dict(miner)
        if trainer is trainers.TrainWithClassifier:
            models["classifier"] = nn.Linear(D, C)
            functions["classifier_loss"] = nn.CrossEntropyLoss()
        if trainer is trainers.CascadedEmbeddings:
            functions = {"metric_loss_0": losses.TripletMarginLoss(), "metric_loss_1": losses.ContrastiveLoss()}
            optimizers.pop("metric_loss_optimizer")
            extra, mining = {"embedding_sizes": [3, 3]}, {}
        before = next(trunk.encoder.parameters()).detach().clone()
        trainer(
            models=models, optimizers=optimizers, loss_funcs=functions, mining_funcs=mining, **common(images()), **extra
        ).train(num_epochs=1)
        assert not torch.equal(before, next(trunk.encoder.parameters()))


def test_the_adversarial_trainer():
    trunk = network()
    models = {"trunk": trunk, "embedder": nn.Linear(D, D), "generator": nn.Linear(3 * D, D)}
    trainers.DeepAdversarialMetricLearning(
        models=models,
        optimizers={"trunk_optimizer": sgd(trunk), "generator_optimizer": sgd(models["generator"])},
        loss_funcs={name: losses.TripletMarginLoss() for name in ("metric_loss", "synth_loss", "g_adv_loss")},
        mining_funcs={},
        **common(images()),
    ).train(num_epochs=1)
    assert all(p.isfinite().all() for p in models["generator"].parameters())


def test_the_trainer_of_two_streams():
    class Pairs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(LABELS)

        def __getitem__(self, i: int):
            image, label = images()[i]
            return image, image.flip(-1), label

    trunk = network()
    trainers.TwoStreamMetricLoss(
        models={"trunk": trunk},
        optimizers={"trunk_optimizer": sgd(trunk)},
        loss_funcs={"metric_loss": losses.TripletMarginLoss()},
        mining_funcs={},
        **common(Pairs()),
    ).train(num_epochs=1)
    assert all(p.isfinite().all() for p in trunk.parameters())


def calculator() -> AccuracyCalculator:
    return AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r", "NMI"),
        knn_func=Neighbours(),
        kmeans_func=clusters,
        device=torch.device("cpu"),
    )


def test_a_tester_finds_what_our_retrieval_finds():
    trunk, dataset = network().eval(), images()
    with torch.no_grad():
        e = trunk(dataset.tensors[0])
        ours = retrieve(e, LABELS).means()
    options = {"dataloader_num_workers": 0, "accuracy_calculator": calculator(), "data_device": "cpu"}
    figures = testers.GlobalEmbeddingSpaceTester(**options, normalize_embeddings=False).test({"val": dataset}, 1, trunk)[
        "val"
    ]
    assert figures["precision_at_1_level0"] == pytest.approx(ours["recall@1"])
    assert figures["mean_average_precision_at_r_level0"] == pytest.approx(ours["MAP@R"])
    assert figures["NMI_level0"] == pytest.approx(normalized_mutual_info_score(LABELS, clusters(e, C)))


@pytest.mark.parametrize("metric", ("cosine", "euclidean"))
def test_neighbours_are_those_of_the_package(metric, tmp_path):
    torch.manual_seed(3)
    references, queries = torch.randn(40, D), torch.randn(7, D)
    distance = CosineSimilarity() if metric == "cosine" else LpDistance(normalize_embeddings=False)
    theirs = CustomKNN(distance)(queries, 5, references)
    ours = Neighbours(metric)
    ours.train(references[:30])
    ours.add(references[30:])
    ours.save(tmp_path / "known.pth")
    loaded = Neighbours(metric)
    loaded.load(tmp_path / "known.pth")
    for value, index in (ours(queries, 5), loaded(queries, 5), Neighbours(metric)(queries, 5, references)):
        assert torch.equal(index, theirs[1])
        torch.testing.assert_close(value, 1 - theirs[0] if metric == "cosine" else theirs[0], rtol=1e-4, atol=1e-5)
    inside = Neighbours(metric)(references, 4, references, ref_includes_query=True)[1]
    assert torch.equal(inside, CustomKNN(distance)(references, 4, references, ref_includes_query=True)[1])
    with pytest.raises(ValueError, match="nothing to look among"):
        Neighbours()(queries, 1)


def test_matches_and_neighbours_of_our_networks():
    trunk, dataset = network().eval(), images()
    finder = MatchFinder(CosineSimilarity(), threshold=0.5)
    # its is_match does not normalise: the model has to
    model = InferenceModel(trunk, match_finder=finder, knn_func=Neighbours(), data_device="cpu")
    inputs = dataset.tensors[0]
    model.train_knn(inputs)
    _, index = model.get_nearest_neighbors(inputs[:3], k=2)
    with torch.no_grad():
        e = nn.functional.normalize(trunk(inputs), dim=1)
    assert index[:, 0].tolist() == [0, 1, 2] and torch.equal(index, (e[:3] @ e.T).topk(2, dim=1).indices)
    assert bool(model.is_match(inputs[:1], inputs[:1]))
    matches = model.get_matches(inputs)
    assert (matches == (e @ e.T >= 0.5).numpy()).all()


def test_samplers_over_labels_of_a_data_set():
    dataset = SimpleNamespace(labels=LABELS, classes=("a/0", "a/1", "b/2", "b/3"))
    drawn = list(PmlSampler(dataset, {"type": "pml.MPerClassSampler", "m": 2, "length_before_new_iter": 16}))
    assert len(drawn) == 16 and all(LABELS[drawn[i]] == LABELS[drawn[i + 1]] for i in range(0, 16, 2))
    triplets = list(PmlSampler(dataset, {"type": "pml.FixedSetOfTriplets", "num_triplets": 5}))
    assert len(triplets) >= 5
    section = {"type": "pml.HierarchicalSampler", "batch_size": 8, "samples_per_class": 2, "batches_per_super_tuple": 1}
    batches = list(PmlBatchSampler(SimpleNamespace(dataset=dataset), section | {"super_classes_per_batch": 2}))
    assert batches and all(len(batch) == 8 for batch in batches)
    tester = {"accuracy_calculator": calculator(), "dataloader_num_workers": 0, "data_device": "cpu"}
    miner = miners.TripletMarginMiner(margin=5.0)
    weights = samplers.TuplesToWeightsSampler(network().eval(), miner, images(), subset_size=20, **tester)
    assert 0 < len(set(weights)) <= 20
    with pytest.raises(ValueError, match="named `group/class`"):
        flat = SimpleNamespace(dataset=SimpleNamespace(labels=LABELS, classes=("a", "b", "c", "d")))
        PmlBatchSampler(flat, section)
    with pytest.raises(ValueError, match="a data set with labels"):
        PmlSampler(object(), {"type": "pml.MPerClassSampler", "m": 2})
