"""Negative representatives: distances and loss against loops, gradients, and what is refused."""

import pytest
import torch

from repmet.model_definitions.losses.negative_representatives import negative_distances, negative_loss


def test_distances_by_a_loop() -> None:
    positive, negative = torch.rand(5, 3, 2) * 4, torch.rand(5, 3, 4) * 4
    got = negative_distances(positive, negative, 0.3)
    for b in range(5):
        for n in range(3):
            for k in range(2):
                expected = max(0.0, float(positive[b, n, k]) + 0.3 * (2 - min(float(v) for v in negative[b, n])))
                assert float(got[b, n, k]) == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(negative_distances(positive, torch.full((5, 3, 1), 2.0), 0.3), positive)


def test_the_loss_by_a_loop() -> None:
    negative = torch.rand(7, 3, 2) * 4
    labels, near = torch.tensor([0, 1, 2, 3, 3, 3, 0]), torch.tensor([3, 3, 3, 0, 2, 3, 1])
    got = negative_loss(negative, labels, near)
    for b in range(7):
        expected = min(negative[b, near[b]].tolist()) if near[b] < 3 else 0.0
        expected -= min(negative[b, labels[b]].tolist()) if labels[b] < 3 else 0.0
        assert float(got[b]) == pytest.approx(expected, abs=1e-6)
    assert negative_loss(negative[:0], labels[:0], near[:0]).shape == (0,)


def test_gradients() -> None:
    positive, negative = (torch.rand(4, 3, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    labels, near = torch.tensor([0, 3, 2, 3]), torch.tensor([3, 1, 3, 3])
    assert torch.autograd.gradcheck(negative_distances, (positive, negative, 0.2))
    assert torch.autograd.gradcheck(lambda d2: negative_loss(d2, labels, near), (negative,))


def test_wrong_labels_are_refused() -> None:
    d2 = torch.rand(4, 3, 2)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.3, not 0\.\.4"):
        negative_loss(d2, torch.tensor([0, 1, 2, 4]), torch.full((4,), 3))
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.3, not -1\.\.3"):
        negative_loss(d2, torch.full((4,), 3), torch.tensor([-1, 1, 2, 3]))
    with pytest.raises(ValueError, match=r"takes d2 \(B, N, K\)"):
        negative_loss(d2, torch.zeros(3, dtype=torch.long), torch.zeros(4, dtype=torch.long))


def test_a_distance_is_not_less_than_none_and_weighs_a_fifth() -> None:
    positive, far = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[4.0], [4.0]]])
    assert negative_distances(positive, far)[0, :, 0].tolist() == pytest.approx([0.0, 1 - 0.2 * 2])
    assert negative_distances(positive, far, 0.3)[0, 1, 0].item() == pytest.approx(0.4)


def test_labels_of_another_number_are_refused() -> None:
    d2, labels = torch.rand(3, 2, 1), torch.tensor([0, 1, 2])
    for pair in ((labels[:2], labels), (labels, labels[:2])):
        with pytest.raises(ValueError, match=r"two labels \(B,\)"):
            negative_loss(d2, *pair)
