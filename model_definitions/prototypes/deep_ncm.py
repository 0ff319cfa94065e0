"""DeepNCM: the prototypes are running class means, and only the network learns.

Source: S. Guerriero, B. Caputo, T. Mensink, "DeepNCM: deep nearest class mean classifiers", ICLR 2018 workshop.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.dense import as_given, as_rows
from repmet.model_definitions.labels import check_range
from repmet.model_definitions.losses.weighting import IGNORED
from repmet.model_definitions.representatives import squared_distances

WEIGHTINGS = ("batch", "sample")


class DeepNCM(nn.Module):
    """`score_k = -|f(x) - m_k|^2`, logits for the ordinary cross-entropy, with the class means m of what was seen.

    In training, a batch first moves the means of its classes, without a gradient, and is then scored:

        weighting "batch"     m <- (n m + b) / (n + 1),    n <- n + 1      b the batch's mean: each batch weighs the same
        weighting "sample"    m <- (n m + s) / (n + c),    n <- n + c      s the sum of its c samples: the exact mean
        with a decay a        m <- a m + (1 - a) b,        the first time m <- b

    Args:
        model: the network f, to (B, d) or (B, d, H, W); None: the input is the embedding.
        num_classes: K. embedding_dim: d.
        weighting: "batch", as in the released code of metric-guided prototypes, or "sample".
        decay: in (0, 1), of old means; None: all batches since the beginning count.
        ignore_index: the label of rows that belong to no class.

    Attributes:
        means: (K, d), 0 of a class that was never seen. counts: (K,), n. Both are saved; several processes share their sums.

    Shape:
        Whatever `model` takes, and `labels` (B,) or (B, H, W) -> (B, K) or (B, K, H, W).

    Raises:
        ValueError: another weighting, a decay out of range, a training batch without labels, labels that do not fit.
    """

    means: Tensor
    counts: Tensor

    def __init__(
        self,
        model: nn.Module | None,
        num_classes: int,
        embedding_dim: int,
        weighting: str = "batch",
        decay: float | None = None,
        ignore_index: int = IGNORED,
    ) -> None:
        super().__init__()
        if weighting not in WEIGHTINGS:
            raise UserError(f"weighting must be one of {', '.join(WEIGHTINGS)}, not {weighting!r}")
        if decay is not None and not 0 < decay < 1:
            raise UserError(f"decay must lie between 0 and 1, not {decay}")
        self.model = nn.Identity() if model is None else model
        self.weighting, self.decay, self.ignore_index = weighting, decay, ignore_index
        self.register_buffer("means", torch.zeros(num_classes, embedding_dim))
        self.register_buffer("counts", torch.zeros(num_classes, dtype=torch.long))

    @property
    def prototypes(self) -> Tensor:
        """(K, d), the means."""
        return self.means

    def forward(self, *inputs: Any, labels: Tensor | None = None, **more: Any) -> Tensor:
        embeddings = self.model(*inputs, **more)
        rows = as_rows(embeddings)
        if self.training:
            if labels is None or labels.numel() != len(rows):
                shape = None if labels is None else tuple(labels.shape)
                raise UserError(f"DeepNCM learns from labelled batches: {len(rows)} labels are needed, not {shape}")
            self.update(rows.detach(), labels.flatten())
        return as_given(self.scores(rows), embeddings)

    def scores(self, embeddings: Tensor) -> Tensor:
        """Embeddings (B, d) -> (B, K), by the means as they are."""
        return -squared_distances(embeddings, self.means[:, None]).squeeze(-1)

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Moves the means by a batch's embeddings (n, d) and labels (n,); absent classes stay."""
        counted = labels != self.ignore_index
        embeddings, labels = embeddings[counted].to(self.means.dtype), labels[counted]
        check_range(labels, len(self.means))
        number = torch.bincount(labels, minlength=len(self.means))
        sums = torch.zeros_like(self.means).index_add(0, labels, embeddings)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(sums)
            dist.all_reduce(number)
        seen = number > 0
        mean = sums / number.clamp_min(1)[:, None]
        added = number if self.weighting == "sample" else seen.long()
        share = added / (self.counts + added).clamp_min(1)  # of the batch in the new mean
        if self.decay is not None:
            share = torch.where(self.counts > 0, 1 - self.decay, 1.0)
        # new tensors: an earlier batch's graph may still hold the old ones
        self.means = torch.where(seen[:, None], torch.lerp(self.means, mean, share[:, None].to(mean.dtype)), self.means)
        self.counts = self.counts + added
