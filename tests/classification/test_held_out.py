"""What a support set says of itself, against sums written out one image at a time."""

import math

import pytest
import torch

from repmet.classification.held_out import FOLDS, SPREAD, farthest_allowed, fitted_sigma, held_out_distances


def world(per_class: int = 4, spread: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat_interleave(per_class)
    return torch.eye(3, 5)[labels] + spread * torch.randn(len(labels), 5, generator=generator), labels


def test_each_image_is_judged_without_itself() -> None:
    embeddings, labels = world()  # fewer images a class than folds: one is held out at a time
    held_out = held_out_distances(embeddings, labels, 3, modes=1)
    assert sum(len(y) for _, y in held_out) == len(labels)
    by_class = {}
    for d2, y in held_out:
        for row, label in zip(d2[..., 0], y, strict=True):
            by_class.setdefault(label.item(), []).append(row)
    for fold in range(4):  # the k-th of every class are held out together
        rest = [i for i in range(12) if i % 4 != fold]
        means = torch.stack([embeddings[[i for i in rest if labels[i] == c]].mean(0) for c in range(3)])
        for c in range(3):
            expected = (embeddings[4 * c + fold] - means).square().sum(1)
            torch.testing.assert_close(by_class[c][fold], expected)


def test_a_class_of_one_image_keeps_it() -> None:
    embeddings, labels = world()
    alone = torch.cat([labels, torch.tensor([3])])
    held_out = held_out_distances(torch.cat([embeddings, torch.ones(1, 5)]), alone, 4, modes=1)
    assert all(d2.shape[1:] == (4, 1) for d2, _ in held_out)
    assert 3 not in torch.cat([y for _, y in held_out])
    assert held_out_distances(torch.eye(3), torch.arange(3), 3, modes=1) == []
    assert len(held_out_distances(*world(per_class=12), 3, modes=2)) == FOLDS


def test_sigma_maximises_what_the_held_out_images_and_the_prior_say() -> None:
    held_out = held_out_distances(*world(), 3, modes=1)

    def cost(sigma: float) -> float:
        total = (math.log(sigma) - math.log(0.5)) ** 2 / (2 * SPREAD**2)
        for d2, y in held_out:
            for row, label in zip(d2[..., 0].tolist(), y.tolist(), strict=True):
                kernels = [math.exp(-d / (2 * sigma**2)) for d in row]
                total -= math.log(kernels[label] / sum(kernels))
        return total

    sigma = fitted_sigma(held_out, 0.5)
    grid = [0.5 * math.exp(step / 200) for step in range(-300, 301)]
    assert cost(sigma) == pytest.approx(min(map(cost, grid)), abs=0.02)
    assert sigma != pytest.approx(0.5, rel=0.05)
    assert fitted_sigma([], 0.7) == pytest.approx(0.7)


def test_the_share_that_is_refused() -> None:
    d2 = torch.arange(1.0, 20.0)[:, None, None].expand(-1, 2, 1)  # 19 nearest distances: 1 to 19
    held_out = [(d2, torch.zeros(19, dtype=torch.long))]
    assert farthest_allowed(held_out, 0.05) == 19
    assert farthest_allowed(held_out, 0.1) == 18
    assert farthest_allowed(held_out, 0.5) == 10
    with pytest.raises(ValueError, match=r"at most 0.04 .* takes 24 support images .* there are 19.* a share of 0.05"):
        farthest_allowed(held_out, 0.04)
    with pytest.raises(ValueError, match="there are 0"):
        farthest_allowed([], 0.1)
    with pytest.raises(ValueError, match="lies between 0 and 1, not 1"):
        farthest_allowed(held_out, 1)
