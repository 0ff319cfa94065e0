"""The refresh of Magnet's cluster index against scikit-learn's k-means, one class after another."""

from collections.abc import Iterator

import torch
from threadpoolctl import threadpool_limits

from repmet.benchmarks.measure import Comparison, compare
from repmet.model_definitions.cluster_index import ClusterIndex

SAMPLES, DIM, CLUSTERS = 20_000, 64, 3
SLACK = 1.02  # both find local minima, from seeds of their own


def refresh_cases(threads: int, seconds: float, classes: tuple[int, ...] = (100, 1000)) -> Iterator[Comparison]:
    """20,000 samples of 64 dimensions, 3 clusters a class: few large classes, and many small ones.

    Every class is three Gaussian clouds. Both start once by k-means++ and take 20 iterations at most.

    Raises:
        AssertionError: ours leaves a larger sum of squared distances to the centres, by more than 2 %.
    """
    from sklearn.cluster import KMeans

    for number in classes:
        labels = torch.arange(number).repeat_interleave(SAMPLES // number)
        modes = torch.randn(number, CLUSTERS, DIM)
        points = modes[labels, torch.randint(0, CLUSTERS, (len(labels),))] + 0.5 * torch.randn(len(labels), DIM)
        members = [points[labels == c].numpy() for c in range(number)]
        index = ClusterIndex(CLUSTERS)

        def theirs(members: list = members) -> list[KMeans]:
            with threadpool_limits(threads):
                return [KMeans(CLUSTERS, n_init=1, max_iter=20, random_state=0).fit(rows) for rows in members]

        index.refresh(points, labels)
        rows = torch.arange(len(labels))
        mine = index.distances(points)[rows, labels].amin(-1).sum().item()
        other = sum(fit.inertia_ for fit in theirs())
        if mine > SLACK * other:
            raise AssertionError(f"k-means of {number} classes: squared distances of {mine:.5g}, scikit-learn's {other:.5g}")
        yield compare(
            f"k-means, {SAMPLES:,} x {DIM}, k = {CLUSTERS}, {number} classes",
            lambda index=index, points=points, labels=labels: index.refresh(points, labels),
            "scikit-learn",
            theirs,
            seconds=seconds,
        )
