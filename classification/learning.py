"""Support images through the encoder, and what a head says of other images: the two passes that a classifier makes."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from PIL import Image, ImageOps

from repmet.classification.array_head import squared_distances
from repmet.classification.decoded_batches import batches
from repmet.classification.encoder import Encoder
from repmet.classification.held_out import strangeness
from repmet.classification.learnt_images import LearntImages
from repmet.classification.prediction import Prediction
from repmet.classification.support_images import check_single_labels
from repmet.data.files.pictures import contained
from repmet.data.readers.image_inputs import ImageInput
from repmet.progress import progress as bar

THUMBNAIL = 96  # pixels, a side
NEAREST = 3  # supports that an answer names


def thumbnail(picture: Image.Image) -> np.ndarray:
    """A small picture on a square, (THUMBNAIL, THUMBNAIL, 3) uint8."""
    small = ImageOps.pad(contained(picture, THUMBNAIL), (THUMBNAIL, THUMBNAIL), color=(238, 240, 243))
    return np.asarray(small)


def learnt_images(
    encoder: Encoder,
    by_class: Mapping[str, list[ImageInput]],
    modes: int | None,
    batch_size: int,
    *,
    several: bool = False,
    progress: bool = False,
) -> LearntImages:
    """Embeds the images of each class.

    Args:
        modes, several: as `LearntImages` has them. batch_size: images together. progress: a bar on the terminal.

    Raises:
        ValueError, ConnectionError: an image cannot be read, or is of two classes where it may be of one.
    """
    if not several:
        check_single_labels(by_class)
    pairs = [(c, image) for c, images in enumerate(by_class.values()) for image in images]

    def looked_at(picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        return encoder.pixels(picture), thumbnail(picture)

    embeddings, thumbnails = [], []
    looked = batches([image for _, image in pairs], looked_at, batch_size, None)
    for _, batch in bar(looked, "learning", -(-len(pairs) // batch_size), show=progress):
        embeddings.append(encoder.embedded([pixels for pixels, _ in batch]))
        thumbnails += [small for _, small in batch]
    return LearntImages(
        tuple(by_class),
        np.concatenate(embeddings),
        np.array([c for c, _ in pairs], np.int64),
        tuple(image.name for _, image in pairs),
        np.stack(thumbnails),
        modes,
        encoder.sigma,
        several=several,
    )


def answers(
    encoder: Encoder,
    learnt: LearntImages,
    inputs: Iterable[ImageInput],
    batch_size: int,
    strangest: float | None,
    unreadable: list[str] | None,
) -> Iterator[Prediction]:
    """Looks at images, batch by batch.

    Args:
        strangest: the strangeness from which on an image is none of the classes; None: each gets one.
        unreadable: as `batches` takes it.
    """
    for images, pixels in batches(inputs, encoder.pixels, batch_size, unreadable):
        embeddings = encoder.embedded(pixels)  # (B, e)
        d2 = learnt.head.distances(embeddings)  # (B, N, K)
        probabilities = learnt.probabilities(embeddings)  # (B, N)
        distances, strange = d2.min((1, 2)).tolist(), strangeness(d2).tolist()
        to_supports = squared_distances(embeddings, learnt.embeddings[:, None])[..., 0]  # (B, S)
        nearest = to_supports.argsort(1, kind="stable")[:, :NEAREST]
        for i, image in enumerate(images):
            yield Prediction(
                image,
                learnt.classes,
                probabilities[i],
                distances[i],
                tuple(learnt.support(k) for k in nearest[i].tolist()),
                to_supports[i, nearest[i]],
                strange[i],
                strangest is not None and strange[i] > strangest,
                learnt.several,
            )
