"""Hierarchical softmax and hierarchical cross-entropy against products over the tree, and flat ones."""

import math

import pytest
import torch
import torch.nn.functional as F

from repmet.model_definitions.hierarchy import Hierarchy
from repmet.model_definitions.losses.hierarchical import HierarchicalCrossEntropy
from repmet.model_definitions.prototypes import HierarchicalSoftmax
from tests.model_definitions.test_hierarchy import DIGITS, random_tree

FLAT = dict.fromkeys("abcde", "root")
TWO_LEVELS = {"a": "x", "b": "x", "c": "y", "d": "y", "x": "root", "y": "root"}


@pytest.mark.parametrize("seed", range(4))
def test_products_over_a_random_tree(seed):
    tree = Hierarchy(random_tree(12, seed))
    logits = 3 * torch.randn(5, len(tree), dtype=torch.double)
    log_p = HierarchicalSoftmax(None, tree)(logits)
    p = log_p.exp()
    for b in range(5):
        for k in range(len(tree)):
            product, node = 1.0, k
            while node >= 0:
                same = [j for j in range(len(tree)) if tree.parent[j] == tree.parent[node]]
                product *= math.exp(logits[b, node]) / sum(math.exp(logits[b, j]) for j in same)
                node = int(tree.parent[node])
            assert p[b, k].item() == pytest.approx(product)
    torch.testing.assert_close(p[:, : tree.num_classes].sum(1), torch.ones(5, dtype=torch.double))
    for k in range(tree.num_classes, len(tree)):
        torch.testing.assert_close(p[:, tree.parent == k].sum(1), p[:, k])


def test_a_flat_tree_is_the_softmax():
    tree = Hierarchy(FLAT)
    logits = torch.randn(6, 5, requires_grad=True)
    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    log_p = HierarchicalSoftmax(None, tree)(logits)
    torch.testing.assert_close(log_p, logits.log_softmax(1))
    torch.testing.assert_close(F.nll_loss(log_p, labels), F.cross_entropy(logits, labels))


def test_large_logits_gradients_and_pixels():
    tree = Hierarchy(DIGITS)
    module = HierarchicalSoftmax(None, tree)
    far = 1e4 * torch.randn(4, len(tree))
    far.requires_grad_()
    module(far)[:, :10].sum().backward()
    assert module(far).isfinite().all() and far.grad.isfinite().all()
    logits = torch.randn(6, len(tree), dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(module, logits)
    dense = module(logits.T.reshape(1, -1, 2, 3))
    torch.testing.assert_close(dense[0].flatten(1).T, module(logits))
    assert HierarchicalSoftmax(torch.nn.Linear(3, len(tree)), tree)(torch.randn(2, 3)).shape == (2, len(tree))
    with pytest.raises(ValueError, match="has 18 nodes below its root, the model gives 10 logits"):
        module(torch.randn(2, 10))


@pytest.mark.parametrize("parents", [FLAT, DIGITS, random_tree(12, 0)])
def test_without_weights_for_heights_it_is_the_cross_entropy(parents):
    tree = Hierarchy(parents)
    logits = torch.randn(9, tree.num_classes)
    labels = torch.randint(0, tree.num_classes, (9,))
    torch.testing.assert_close(HierarchicalCrossEntropy(tree, 0.0)(logits, labels), F.cross_entropy(logits, labels))


def test_two_levels_by_hand():
    p = torch.tensor([[0.4, 0.1, 0.3, 0.2]])  # a, b under x; c, d under y
    alpha = 0.5
    expected = -(math.log(0.4 / 0.5) + math.exp(-alpha) * math.log(0.5))
    loss = HierarchicalCrossEntropy(Hierarchy(TWO_LEVELS), alpha)
    assert loss(p.log(), torch.tensor([0])).item() == pytest.approx(expected)
    focal = -((1 - 0.8) ** 2 * math.log(0.8) + math.exp(-alpha) * 0.5**2 * math.log(0.5))
    loss = HierarchicalCrossEntropy(Hierarchy(TWO_LEVELS), alpha, focal_gamma=2)
    assert loss(p.log(), torch.tensor([0])).item() == pytest.approx(focal)


@pytest.mark.parametrize("seed", range(3))
def test_loops_over_a_random_tree(seed):
    tree = Hierarchy(random_tree(12, seed))
    K, alpha = tree.num_classes, 0.3
    logits = torch.randn(7, K, dtype=torch.double, requires_grad=True)
    labels = torch.randint(0, K, (7,))
    p, under = logits.softmax(1), tree.under()
    node_p = torch.stack([p[:, under[k]].sum(1) for k in range(len(tree))], 1)
    losses = []
    for b, y in enumerate(labels.tolist()):
        path = [k for k in tree.paths[y].tolist() if k >= 0]
        chain = [node_p[b, k].item() for k in path] + [1.0]
        steps = zip(path, chain, chain[1:], strict=False)
        losses.append(-sum(math.exp(-alpha * tree.heights[k]) * math.log(low / high) for k, low, high in steps))
    criterion = HierarchicalCrossEntropy(tree, alpha).double()
    criterion.weights = torch.cat([(-alpha * tree.heights.double()).exp(), torch.zeros(1)])
    assert criterion(logits, labels).item() == pytest.approx(sum(losses) / 7)
    torch.testing.assert_close(criterion.log_node_probabilities(logits).exp(), node_p)
    assert torch.autograd.gradcheck(lambda z: criterion(z, labels), logits)


def test_a_large_alpha_lets_coarse_levels_go():
    tree = Hierarchy(DIGITS)
    labels = torch.tensor([6])

    def coarse(alpha: float) -> float:
        """The share of the level below the root in the loss' gradient with regard to the weights of the levels."""
        z = torch.randn(1, 10, generator=torch.Generator().manual_seed(0))
        criterion = HierarchicalCrossEntropy(tree, alpha)
        criterion.weights.requires_grad_()
        [gradient] = torch.autograd.grad(criterion(z, labels), criterion.weights)
        terms = (gradient * criterion.weights)[tree.paths[6]]
        return (terms[-1] / terms.sum()).item()

    shares = [coarse(alpha) for alpha in (0.0, 0.2, 0.5, 1.0, 3.0)]
    assert shares == sorted(shares, reverse=True) and shares[-1] < 0.1 * shares[0]


def test_tiny_probabilities_and_bad_input():
    tree = Hierarchy(TWO_LEVELS)
    logits = torch.tensor([[200.0, 0.0, -200.0, -300.0]], requires_grad=True)
    loss = HierarchicalCrossEntropy(tree, 0.5)(logits, torch.tensor([3]))
    loss.backward()
    assert loss.item() == pytest.approx(100 + math.exp(-0.5) * 400) and logits.grad.isfinite().all()
    with pytest.raises(ValueError, match="the tree has 4 classes, the logits 3"):
        HierarchicalCrossEntropy(tree)(torch.zeros(1, 3), torch.tensor([0]))


def test_another_number_of_logits_is_refused_either_way():
    for number in (3, 5):
        with pytest.raises(ValueError, match=f"the tree has 4 classes, the logits {number}"):
            HierarchicalCrossEntropy(Hierarchy(TWO_LEVELS))(torch.zeros(1, number), torch.tensor([0]))


def test_rows_that_do_not_count_are_left_out():
    tree, logits = Hierarchy(TWO_LEVELS), torch.randn(4, 4)
    whole = HierarchicalCrossEntropy(tree, 0.3)(logits[:2], torch.tensor([1, 3]))
    for ignored in (255, -1):
        criterion = HierarchicalCrossEntropy(tree, 0.3, ignore_index=ignored)
        torch.testing.assert_close(criterion(logits, torch.tensor([1, 3, ignored, ignored])), whole)
    torch.testing.assert_close(HierarchicalCrossEntropy(tree, 0.3)(logits, torch.tensor([1, 3, -100, -100])), whole)


def test_a_power_that_is_no_whole_number_has_a_slope_where_the_class_is_sure():
    logits = torch.tensor([[200.0, 0.0, 0.0, 0.0], [12.0, 0.0, 0.0, 0.0]], requires_grad=True)
    loss = HierarchicalCrossEntropy(Hierarchy(TWO_LEVELS), 0.5, focal_gamma=1.5)(logits, torch.tensor([0, 0]))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_the_weights_are_of_the_default_type_and_the_loss_of_the_logits():
    torch.set_default_dtype(torch.float64)
    try:
        criterion = HierarchicalCrossEntropy(Hierarchy(TWO_LEVELS), 0.5)
    finally:
        torch.set_default_dtype(torch.float32)
    assert criterion.weights.dtype == torch.float64
    loss = criterion(torch.zeros(1, 4), torch.tensor([0]))
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(math.log(2) * (1 + math.exp(-0.5)))


def test_the_weight_falls_by_a_tenth_unless_told_otherwise_and_nothing_is_saved():
    p = torch.tensor([[0.4, 0.1, 0.3, 0.2]])  # a, b under x; c, d under y
    criterion = HierarchicalCrossEntropy(Hierarchy(TWO_LEVELS), class_weights=torch.ones(4))
    expected = -(math.log(0.4 / 0.5) + math.exp(-0.1) * math.log(0.5))
    assert criterion(p.log(), torch.tensor([0])).item() == pytest.approx(expected)
    assert not criterion.state_dict()  # all of it follows from the tree and the arguments
