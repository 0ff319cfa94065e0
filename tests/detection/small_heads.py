"""RepMetBBoxHeads small enough to be recomputed by hand, and regions for them."""

import torch

from repmet.detection.modules import RepMetBBoxHead

N, K, E = 3, 2, 8
STDS = torch.tensor([0.1, 0.1, 0.2, 0.2])
OBJECTS = [[(0, (10, 10, 50, 60)), (2, (60, 20, 120, 90))], [(1, (5, 5, 40, 40))]]


def lively(head):
    """torch's own initial weights, which are larger than the head's: everything differs from region to region."""
    torch.manual_seed(1)
    for layer in head.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    return head


def small_head(**changes):
    settings = {"num_classes": N, "in_channels": 4, "roi_feat_size": 3, "fc_channels": 16, "embed_dim": E, "num_modes": K}
    return lively(RepMetBBoxHead(**{**settings, **changes}))


def regions(head, count=12, *, seed=2):
    """RoI features, RoIs, and targets as `get_targets` gives them: foreground first, one region of weight 0."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0, 2, 1, 2, 0, *[N] * (count - 5)])
    weights = torch.ones(count)
    weights[[1, 8]] = 0
    corner = torch.rand(count, 2, generator=g) * 60
    rois = torch.cat([torch.zeros(count, 1), corner, corner + 8 + torch.rand(count, 2, generator=g) * 30], 1)
    targets = torch.randn(count, 4, generator=g) * (labels < N)[:, None]
    box_weights = (labels < N)[:, None].float().expand(-1, 4).clone()
    box_weights[1] = 0
    return torch.randn(count, 4, 3, 3, generator=g), rois, (labels, weights, targets, box_weights)
