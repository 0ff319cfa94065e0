"""Hierarchical softmax: a softmax among the children of every node, multiplied along the way to the root.

Source: J. Redmon, A. Farhadi, "YOLO9000: better, faster, stronger", CVPR 2017, section 4.
"""

from typing import Any

import torch
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.dense import as_given, as_rows
from repmet.model_definitions.grouped import grouped_logsumexp
from repmet.model_definitions.hierarchy import Hierarchy


class HierarchicalSoftmax(nn.Module):
    """`log p(n) = sum over n and its ancestors a of log softmax over a's siblings (z_a)`.

    Train it by the negative log-likelihood (`F.nll_loss`) of the first K columns, the classes: their probabilities sum to
    1.

    Args:
        model: gives a logit for every node of the tree but the root, (B, M) or (B, M, H, W); None: is not there, the logits
            are the input.
        hierarchy: numbers the nodes, the K classes first.

    Shape:
        Whatever `model` takes -> log-probabilities of all nodes, (B, M) or (B, M, H, W).

    Raises:
        ValueError: another number of logits than nodes.
    """

    siblings: Tensor
    paths: Tensor

    def __init__(self, model: nn.Module | None, hierarchy: Hierarchy) -> None:
        super().__init__()
        self.model = nn.Identity() if model is None else model
        self.num_classes, self.num_nodes = hierarchy.num_classes, len(hierarchy)
        self.num_groups = int(hierarchy.siblings.max()) + 1
        self.register_buffer("siblings", hierarchy.siblings, persistent=False)
        self.register_buffer("paths", hierarchy.paths % (self.num_nodes + 1), persistent=False)  # the last: the root

    def forward(self, *inputs: Any, **more: Any) -> Tensor:
        logits = self.model(*inputs, **more)
        rows = as_rows(logits)
        if rows.shape[1] != self.num_nodes:
            raise UserError(f"the tree has {self.num_nodes} nodes below its root, the model gives {rows.shape[1]} logits")
        among = rows - grouped_logsumexp(rows, self.siblings, self.num_groups)[:, self.siblings]  # log p(n | parent)
        among = torch.cat([among, among.new_zeros(len(among), 1)], 1)
        log_p = torch.zeros_like(rows)
        for level in self.paths.T:  # (M,)
            log_p = log_p + among[:, level]
        return as_given(log_p, logits)
