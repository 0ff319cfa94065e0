"""Negative representatives: what nearly is an object of a class, kept in the embedding beside what is one.

Y. Yang, F. Wei, M. Shi, G. Li, "Restoring negative information in few-shot object detection", NeurIPS 2020 (NP-RepMet), and
its released detector, from which the constants are.

Shapes: B embeddings, N classes, K and K' positive and negative representatives a class.
"""

from torch import Tensor

from repmet.model_definitions.labels import check_range

NEUTRAL = 2.0  # squared distance of unit vectors at right angles: nothing is known


def negative_distances(positive: Tensor, negative: Tensor, weight: float = 0.2) -> Tensor:
    """`[d2+_ij + weight (2 - min_k d2-_ik)]_+`: nearness to what is almost class i moves an embedding away from class i.

    An embedding at right angles to all negative representatives of a class stays where it is. (The released detector pairs
    the j-th positive with the j-th negative mode; here the nearest negative counts, whatever their numbers.)

    Args:
        positive, negative: squared distances (B, N, K) and (B, N, K').
        weight: how much nearness to a negative counts.

    Returns:
        (B, N, K).
    """
    return (positive + weight * (NEUTRAL - negative.amin(-1, keepdim=True))).clamp_min(0)


def negative_loss(negative: Tensor, labels: Tensor, near_labels: Tensor) -> Tensor:
    """Per region `d2-_n` for one that nearly is class n, `-d2-_y` for one that is class y, else 0; the least over the modes.

    What nearly is an object is drawn to its class's negative representatives, what is one is driven from them. On the unit
    sphere the values lie in [-4, 4].

    Args:
        negative: squared distances in the negative embedding, (B, N, K').
        labels: (B,), 0..N-1, and N for background.
        near_labels: (B,), the class that a region nearly is, and N where it is near none.

    Returns:
        (B,).

    Raises:
        ValueError: wrong shapes, or a label out of 0..N.
    """
    if negative.dim() != 3 or not labels.shape == near_labels.shape == negative.shape[:1]:
        raise ValueError(
            f"negative_loss takes d2 (B, N, K) and two labels (B,), not {tuple(negative.shape)}, {tuple(labels.shape)} "
            f"and {tuple(near_labels.shape)}"
        )
    for classes in (labels, near_labels):
        check_range(classes, negative.shape[1] + 1)
    nearest = negative.amin(-1)  # (B, N)
    padded = negative.new_zeros(len(nearest), nearest.shape[1] + 1)  # a column of nothing, for background and near none
    padded[:, :-1] = nearest
    pulled, pushed = (padded.gather(1, classes[:, None])[:, 0] for classes in (near_labels, labels))
    return pulled - pushed
