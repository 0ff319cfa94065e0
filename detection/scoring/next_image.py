"""Which unmarked image is worth most to be marked next: by the doubt in its finds, and by what was not seen before.

Shapes: I images, S marks and images chosen before, n finds, P proposals, f features.
"""

from collections.abc import Sequence

import numpy as np

from repmet.detection.embedding.embedded_image import FEATURES, EmbeddedImage
from repmet.detection.scoring.scorer import ClassScorer

DOUBTFUL = 10  # finds of an image that count: one that is crowded is not worth more without end


def doubt(probabilities: np.ndarray) -> float:
    """`sum p (1 - p)` over the most uncertain of an image's finds (n,), the variance of how many of them are right."""
    return float(np.sort(probabilities * (1 - probabilities))[::-1][:DOUBTFUL].sum())


def most_doubtful(image: EmbeddedImage, scorer: ClassScorer) -> np.ndarray:
    """(f,), the RoI features of the region that the classes are least sure of; zeros where there is none."""
    features = image.embeddings[FEATURES].numpy()
    if not len(features):
        return np.zeros(features.shape[1], features.dtype)
    scores = scorer.scores(image).amax(1).numpy()  # (P,)
    return features[int((scores * (1 - scores)).argmax())]


def next_images(doubts: Sequence[float], looks: np.ndarray, seen: np.ndarray, count: int) -> list[int]:
    """The numbers of at most `count` images, the best first, chosen greedily.

    An image's worth is its doubt times how little it resembles what was marked or chosen before: 1 - the largest cosine.

    Args:
        doubts: (I,), see `doubt`.
        looks: (I, f), see `most_doubtful`.
        seen: (S, f), the features of the marks; S at least 1.
    """
    chosen: list[int] = []
    for _ in range(min(count, len(doubts))):
        gain = np.asarray(doubts) * (1 - (looks @ seen.T).max(1))
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        seen = np.concatenate([seen, looks[chosen[-1]][None]])
    return chosen
