"""Retrieval against PML's calculator, sorted lists and brute force, with duplicates and lone queries."""

import pytest
import torch
import torch.nn.functional as F

from repmet.classification.metrics import retrieval
from repmet.classification.metrics.retrieval import largest, retrieve


def random_set(n=120, dim=6, classes=9, seed=0):
    torch.manual_seed(seed)
    labels = torch.randint(0, classes, (n,)) * 7 + 3
    embeddings = F.one_hot(labels, 80).float() @ torch.randn(80, dim) + torch.randn(n, dim)
    twice = torch.randperm(n)[:20]  # duplicates of one class: a query's copy is as near as the query itself
    return torch.cat([embeddings, embeddings[twice]]), torch.cat([labels, labels[twice]])


def by_pml(embeddings, labels, metric, references=None, reference_labels=None):
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    distance = distances.CosineSimilarity() if metric == "cosine" else distances.LpDistance(normalize_embeddings=False)
    calculator = AccuracyCalculator(
        exclude=("NMI", "AMI"), knn_func=CustomKNN(distance), kmeans_func=object(), device=torch.device("cpu")
    )
    figures = calculator.get_accuracy(embeddings, labels, references, reference_labels)
    names = {
        "recall@1": "precision_at_1",
        "R-precision": "r_precision",
        "MAP@R": "mean_average_precision_at_r",
        "mAP": "mean_average_precision",
    }
    return {ours: figures[theirs] for ours, theirs in names.items()}


def brute_force(embeddings, labels, metric, k):
    """(n, n-1) hits in the order of similarity, by float64."""
    e = embeddings.double()
    e = F.normalize(e, dim=1) if metric == "cosine" else e
    d = torch.cdist(e, e)
    hits = []
    for i in range(len(e)):
        others = [j for j in torch.argsort(d[i], stable=True).tolist() if j != i]
        hits.append([bool(labels[j] == labels[i]) for j in others[:k]])
    return torch.tensor(hits)


@pytest.mark.parametrize("metric", ("cosine", "euclidean"))
@pytest.mark.parametrize("block", (700, 1 << 26))
def test_it_agrees_with_pml(metric, block, monkeypatch):
    monkeypatch.setattr(retrieval, "_BLOCK", block)
    embeddings, labels = random_set()
    figures = retrieve(embeddings, labels, metric=metric, whole_ranking=True).means()
    expected = by_pml(embeddings, labels, metric)
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", ("cosine", "euclidean"))
def test_it_agrees_with_pml_on_separate_references(metric):
    embeddings, labels = random_set(60, seed=1)
    references, reference_labels = random_set(90, seed=2)
    labels[:3] = 1000  # lone queries: nothing of their class to be found
    retrieved = retrieve(embeddings, labels, references, reference_labels, metric=metric, whole_ranking=True)
    assert retrieved.queries.tolist() == list(range(3, len(labels)))
    expected = by_pml(embeddings, labels, metric, references, reference_labels)
    assert {name: retrieved.means()[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", ("cosine", "euclidean"))
def test_recall_at_k(metric):
    embeddings, labels = random_set(seed=3)
    hits = brute_force(embeddings, labels, metric, 16)
    retrieved = retrieve(embeddings, labels, metric=metric, recall_at=(2, 4, 16))
    assert set(retrieved.recall) == {1, 2, 4, 16}
    for k, recall in retrieved.recall.items():
        assert torch.equal(recall, hits[:, :k].any(1)[retrieved.queries])
    assert torch.equal(retrieved.correct, labels[retrieved.nearest] == labels[retrieved.queries])
    e = F.normalize(embeddings, dim=1)
    near = (e[retrieved.queries] * e[retrieved.nearest]).sum(1)
    if metric == "euclidean":
        near = -(embeddings[retrieved.queries] - embeddings[retrieved.nearest]).norm(dim=1)
    torch.testing.assert_close(retrieved.similarity, near, rtol=0, atol=1e-5)


def test_a_query_is_not_its_own_neighbour_among_duplicates():
    embeddings = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1], [0, 1]])
    retrieved = retrieve(embeddings, torch.tensor([0, 0, 0, 1, 1]), recall_at=(1, 2))
    assert (retrieved.nearest != retrieved.queries).all() and set(retrieved.means().values()) == {1.0}
    # copies with other labels: nothing right can be nearest, whichever copy is dropped
    retrieved = retrieve(torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]), torch.tensor([0, 1, 0, 1]), recall_at=(1,))
    assert retrieved.means()["recall@1"] == 0 and (retrieved.nearest != retrieved.queries).all()


def test_a_perfect_embedding_and_the_worst():
    labels = torch.arange(5).repeat_interleave(6)
    perfect = retrieve(torch.eye(5)[labels] + 0.01 * torch.randn(30, 5), labels, whole_ranking=True).means()
    assert set(perfect.values()) == {1.0}
    lone = torch.tensor([[0.0, 1], [0, 2], [5, 0], [6, 0.1]])
    assert retrieve(lone, torch.tensor([0, 1, 1, 0]), metric="euclidean", recall_at=(1,)).means()["recall@1"] == 0


def test_distances_far_from_the_origin_keep_their_digits():
    embeddings, labels = random_set(seed=4)
    near, far = (retrieve(embeddings + shift, labels, metric="euclidean") for shift in (0.0, 300.0))
    assert near.means()["MAP@R"] == pytest.approx(far.means()["MAP@R"], abs=2e-3)


@pytest.mark.parametrize(("m", "k"), ((50, 50), (1000, 3), (997, 7), (4096, 1), (300, 40)))
def test_the_largest_are_those_of_topk(m, k):
    torch.manual_seed(m)
    x = torch.randn(6, m)
    x[0, 5] = -torch.inf
    value, index = largest(x, k)
    expected = x.topk(k, dim=1)
    assert torch.equal(value, expected.values) and torch.equal(index, expected.indices)
    tied = torch.randint(0, 4, (6, m)).float()  # any of equal ones
    value, index = largest(tied, k)
    assert torch.equal(value, tied.topk(k, dim=1).values) and torch.equal(tied.gather(1, index), value)
    assert all(len(set(row)) == k for row in index.tolist())


def test_bad_arguments():
    e, y = torch.randn(4, 3), torch.tensor([0, 0, 1, 1])
    with pytest.raises(ValueError, match="cosine or euclidean, not 'dot'"):
        retrieve(e, y, metric="dot")
    with pytest.raises(ValueError, match=r"k from 1 to 3, the number of references, not 1\.\.8"):
        retrieve(e, y)
    with pytest.raises(ValueError, match="no query has a reference of its class"):
        retrieve(e, torch.arange(4), recall_at=(1,))
    with pytest.raises(ValueError, match="finite"):
        retrieve(e.log(), y, recall_at=(1,))
    with pytest.raises(ValueError, match=r"a label for each embedding, not \(3,\) and \(3,\)"):
        retrieve(e, y[:3], recall_at=(1,))
    with pytest.raises(ValueError, match=r"\(n, e\) and references \(m, e\), not \(4, 3\) and \(2, 5\)"):
        retrieve(e, y, torch.ones(2, 5), y[:2])
