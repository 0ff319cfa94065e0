"""The cluster index of Magnet loss: where the clusters of every class lie, how hard each is, which make the next batch.

Rippel et al., "Metric Learning with Adaptive Density Discrimination", ICLR 2016, section 3.2.
Shapes: n samples of the training set, N classes, K clusters of each, e dimensions.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.kmeans import kmeans
from repmet.model_definitions.representatives import squared_distances


class ClusterIndex(nn.Module):
    """K clusters per class of the training set, all of it in buffers, so that a checkpoint resumes with it.

    Before the first `refresh`, or a state dict, the buffers are empty and `ready` is False; their sizes follow from either.

    Args:
        num_clusters: K >= 1.
        iterations: of k-means, at most.
        momentum: of the running variance once it has seen 1 / (1 - momentum) batches; before, it is their plain mean.

    Attributes:
        centres: (N, K, e). counts: (N, K), members; 0 where a class has fewer than K distinct samples.
        assignment: (n,), `class * K + cluster` of each sample.
        losses: (n,), each sample's loss when it was last in a batch. seen: (n,), whether it ever was.
        sigma2: scalar, running average of the batches' variances; until there is one, the variance within the clusters.

    Raises:
        ValueError: a size below 1, a momentum outside 0..1.
    """

    centres: Tensor
    counts: Tensor
    assignment: Tensor
    losses: Tensor
    seen: Tensor
    sigma2: Tensor
    batches: Tensor

    def __init__(self, num_clusters: int = 3, *, iterations: int = 20, momentum: float = 0.99) -> None:
        super().__init__()
        if min(num_clusters, iterations) < 1 or not 0 <= momentum < 1:
            raise UserError(
                "ClusterIndex needs num_clusters and iterations >= 1 and momentum in [0, 1), "
                f"not {num_clusters}, {iterations} and {momentum}"
            )
        self.num_clusters, self.iterations, self.momentum = num_clusters, iterations, momentum
        self.register_buffer("centres", torch.zeros(0, num_clusters, 0))
        self.register_buffer("counts", torch.zeros(0, num_clusters, dtype=torch.long))
        self.register_buffer("assignment", torch.zeros(0, dtype=torch.long))
        self.register_buffer("losses", torch.zeros(0))
        self.register_buffer("seen", torch.zeros(0, dtype=torch.bool))
        self.register_buffer("sigma2", torch.tensor(torch.nan))
        self.register_buffer("batches", torch.tensor(0))  # that sigma2 has seen
        self._members: tuple[Tensor, Tensor] | None = None

    @property
    def ready(self) -> bool:
        return self.counts.numel() > 0

    def refresh(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> None:
        """Clusters the training set anew; the samples keep the losses that they had.

        Args:
            embeddings: (n, e), of the whole training set in its order, without augmentation, in eval mode.
            labels: (n,), classes from 0; some may have no samples.
            generator: see `kmeans`.

        Raises:
            ValueError: no samples, wrong shapes, embeddings that are not finite.
        """
        if len(labels) == 0:
            raise UserError("ClusterIndex: there are no samples to cluster")
        labels = labels.to(embeddings.device)
        clusters = kmeans(
            embeddings.detach(),
            labels,
            int(labels.max()) + 1,
            self.num_clusters,
            iterations=self.iterations,
            generator=generator,
        )
        device = self.centres.device
        self.centres, self.counts = clusters.centres.to(device), clusters.counts.to(device)
        self.assignment = (labels * self.num_clusters + clusters.assignment).to(device)
        if len(self.losses) != len(labels):
            self.losses = torch.zeros(len(labels), device=device)
            self.seen = torch.zeros(len(labels), dtype=torch.bool, device=device)
        if self.batches == 0:
            self.sigma2 = (clusters.inertia.sum() / max(len(labels) - 1, 1)).to(self.sigma2)
        self._members = None

    def distances(self, embeddings: Tensor) -> Tensor:
        """Squared distances (B, e) -> (B, N, K) to the clusters, infinite to those without members (`knc` takes them so)."""
        self._check_ready()
        return squared_distances(embeddings, self.centres).masked_fill(self.counts == 0, torch.inf)

    def update_losses(self, indices: Tensor, losses: Tensor) -> None:
        """Remembers the losses, of any shape, of the samples at `indices`, as many."""
        self._check_ready()
        indices = indices.flatten().to(self.losses.device)
        self.losses[indices] = losses.detach().flatten().to(self.losses)
        self.seen[indices] = True

    def update_sigma2(self, sigma2: Tensor) -> None:
        """Takes a batch's variance into the running average."""
        self.batches += 1
        weight = max(1 / int(self.batches), 1 - self.momentum)
        average = sigma2.detach().to(self.sigma2)
        self.sigma2 = average if weight == 1 else self.sigma2.lerp(average, weight)

    def cluster_losses(self) -> Tensor:
        """(N, K), the mean loss of a cluster's members that have one; of a cluster where none has, the mean of the others.

        Zero for clusters without members, and for all of them as long as no sample has a loss.
        """
        self._check_ready()
        size = self.counts.numel()
        seen = self.assignment[self.seen]
        number = torch.bincount(seen, minlength=size)
        sums = self.losses.new_zeros(size).index_add(0, seen, self.losses[self.seen])
        mean = sums / number.clamp_min(1)
        known = number > 0
        if known.any():
            mean = torch.where(known, mean, mean[known].mean())
        return mean.view_as(self.counts) * (self.counts > 0)

    def draw(self, num_clusters: int, per_cluster: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """The next batch: a seed cluster, its M - 1 nearest impostors, and D samples of each.

        The seed is drawn with probability in proportion to its mean loss, or any as long as all are 0. Impostors are
        clusters of other classes than the seed's, near by the distance of the centres; two may share a class.
        Samples of a cluster are drawn without replacement; where it has fewer than D, each as often as any other +- 1.

        Args:
            num_clusters: M >= 1. per_cluster: D >= 1.
            generator: a CPU generator; None is torch's own.

        Returns:
            Indices of samples (M * D,), cluster after cluster, and the clusters (M,) as in `assignment`: // K is the class.

        Raises:
            RuntimeError: nothing is clustered yet.
            ValueError: there are fewer than M - 1 clusters of other classes; sizes below 1.
        """
        self._check_ready()
        if min(num_clusters, per_cluster) < 1:
            raise UserError(f"a batch needs at least 1 cluster of 1 sample, not {num_clusters} of {per_cluster}")
        counts = self.counts.cpu()
        weights = self.cluster_losses().cpu().flatten()
        if not weights.any():
            weights = (counts > 0).flatten().float()
        seed = torch.multinomial(weights, 1, generator=generator)  # (1,)
        seed_class, within = divmod(int(seed), self.num_clusters)
        d2 = squared_distances(self.centres[seed_class, within][None], self.centres)[0].cpu()  # (N, K)
        d2[counts == 0] = torch.inf
        d2[seed_class] = torch.inf
        impostors = int(d2.isfinite().sum())
        if impostors < num_clusters - 1:
            raise UserError(
                f"a batch of {num_clusters} clusters needs {num_clusters - 1} of other classes than the first one's; "
                f"there are {impostors}"
            )
        nearest = d2.flatten().topk(num_clusters - 1, largest=False).indices
        clusters = torch.cat([seed, nearest])  # (M,)
        return torch.cat([self._draw_members(c, per_cluster, generator) for c in clusters.tolist()]), clusters

    def _draw_members(self, cluster: int, number: int, generator: torch.Generator | None) -> Tensor:
        if self._members is None:
            counts = self.counts.cpu().flatten()
            self._members = torch.argsort(self.assignment.cpu(), stable=True), counts.cumsum(0) - counts
        order, first = self._members
        count = int(self.counts.view(-1)[cluster])
        shuffled = order[first[cluster] + torch.randperm(count, generator=generator)]
        return shuffled.repeat(-(-number // count))[:number]  # (D,)

    def _check_ready(self) -> None:
        if not self.ready:
            raise RuntimeError("ClusterIndex is empty: call refresh(embeddings, labels) first, or load a state dict")

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            saved = state_dict.get(prefix + name)
            if saved is not None and (name not in ("centres", "counts") or saved.shape[1] == self.num_clusters):
                setattr(self, name, buffer.new_empty(saved.shape))  # else sizes differ, and torch says so
        self._members = None
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return "classes={}, clusters={}, samples={}".format(*self.counts.shape, len(self.assignment))
