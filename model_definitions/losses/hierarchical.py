"""Hierarchical cross-entropy: every level of the tree has its share, less the nearer it is to the root.

Source: L. Bertinetto et al., "Making better mistakes: leveraging class hierarchies with deep networks", CVPR 2020.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.grouped import grouped_logsumexp
from repmet.model_definitions.hierarchy import Hierarchy
from repmet.model_definitions.losses.weighting import IGNORED, counted_rows, focal_factor, weighted_mean


class HierarchicalCrossEntropy(nn.Module):
    """`-sum_l exp(-alpha h(C_l)) log p(C_l | C_{l+1})` along the path C_0 = y, C_1, ... to the root.

    `p(C_l | C_{l+1}) = p(C_l) / p(C_{l+1})`, the probability of a node is that of the classes under it, by the softmax of
    the logits, and h is the node's height, 0 of a class. With alpha = 0 it is the cross-entropy.

    Args:
        hierarchy: of the K classes, in the order of the logits.
        alpha: how fast the weight falls towards the root.
        focal_gamma: multiplies each term by `(1 - p(C_l | C_{l+1}))^gamma`; None: does not.
        class_weights: (K,). ignore_index: the label of rows that do not count.

    Shape:
        Logits (B, K) and labels (B,), or (B, K, H, W) and (B, H, W) -> a scalar.

    Raises:
        ValueError: shapes that do not fit, another number of classes than the tree's, labels out of range.
    """

    pair_class: Tensor
    pair_node: Tensor
    paths: Tensor
    weights: Tensor
    class_weights: Tensor | None

    def __init__(
        self,
        hierarchy: Hierarchy,
        alpha: float = 0.1,
        focal_gamma: float | None = None,
        class_weights: Tensor | None = None,
        ignore_index: int = IGNORED,
    ) -> None:
        super().__init__()
        self.focal_gamma, self.ignore_index = focal_gamma, ignore_index
        self.num_classes, self.num_nodes = hierarchy.num_classes, len(hierarchy)
        paths = hierarchy.paths[: self.num_classes]  # (K, depth)
        leaf, level = (paths >= 0).nonzero(as_tuple=True)
        # every class under every node, as pairs: (P,), P = sum of the paths' lengths
        self.register_buffer("pair_class", leaf, persistent=False)
        self.register_buffer("pair_node", paths[leaf, level], persistent=False)
        weights = (-alpha * hierarchy.heights.to(torch.get_default_dtype())).exp()
        self.register_buffer("paths", paths, persistent=False)
        # a place past the nodes for the -1 of short paths: no weight
        self.register_buffer("weights", torch.cat([weights, weights.new_zeros(1)]), persistent=False)
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        rows, labels = counted_rows(logits, labels, self.ignore_index)
        if rows.shape[1] != self.num_classes:
            raise UserError(f"the tree has {self.num_classes} classes, the logits {rows.shape[1]}")
        log_p = self.log_node_probabilities(rows)
        log_p = torch.cat([log_p, log_p.new_zeros(len(log_p), 1)], 1)  # the root, which -1 is
        path = self.paths[labels]  # (B, depth)
        log_path = log_p.gather(1, path % log_p.shape[1])  # (B, depth)
        above = torch.cat([log_path[:, 1:], log_path.new_zeros(len(log_path), 1)], 1)
        terms = -self.weights[path].to(log_path.dtype) * (log_path - above)
        if self.focal_gamma is not None:
            terms = terms * focal_factor(log_path - above, self.focal_gamma)
        return weighted_mean(terms.sum(-1), labels, self.class_weights)

    def log_node_probabilities(self, logits: Tensor) -> Tensor:
        """Logits (B, K) -> (B, M), the logarithm of every node's probability: the sum of its classes'."""
        log_p = F.log_softmax(logits, dim=-1)
        return grouped_logsumexp(log_p[:, self.pair_class], self.pair_node, self.num_nodes)
