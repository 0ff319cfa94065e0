"""Classes that are shown by images, told apart by representatives: the part of both classifiers that is not the network.

Nothing here imports torch. Shapes: N classes, K representatives a class, S support images, e embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repmet.classification.array_head import Floats
from repmet.classification.decoded_batches import batches
from repmet.classification.encoder import Encoder
from repmet.classification.learning import answers, learnt_images
from repmet.classification.learnt_images import LearntImages, read_classes, write_classes
from repmet.classification.prediction import Prediction
from repmet.classification.support_images import read_support_images
from repmet.classification.tuning import tuned
from repmet.data.readers.class_name import check_class_names
from repmet.data.readers.image_inputs import image_inputs, is_one_image
from repmet.errors import UserError
from repmet.progress import progress as bar

if TYPE_CHECKING:
    from typing_extensions import Self


class ClassifiesImages:
    """The face of a `FewShotClassifier` over an encoder of whatever kind.

    Args:
        encoder: embeds the images.
        modes: representatives of a class at most: 1 is the mean of its images, K the centres of k-means, None or "all" every
            image.
        batch_size: images that go through the network together.

    Raises:
        ValueError: modes or batch_size below 1.
    """

    def __init__(self, encoder: Encoder, modes: int | str | None, batch_size: int) -> None:
        self.encoder = encoder
        self.modes, self.batch_size = check_modes(modes), _whole("batch_size", batch_size)
        self.learnt: LearntImages | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The learnt classes in alphabetical order."""
        return self.learnt.classes if self.learnt else ()

    def learn(self, support: str | Path | Mapping[str, Any], *, several: bool = False, progress: bool = True) -> Self:
        """Takes the classes of a support set in the place of those before. When it fails they stay as they were.

        Args:
            support: a folder of class folders, a CSV file, or {class: images}; see `read_support_images`.
            several: an image may be of several classes, each decided by itself; see `several_labels`.
            progress: a bar on the terminal where there are many images.

        Raises:
            FileNotFoundError, ValueError, ConnectionError: there is no such set, or an image of it cannot be read.
        """
        by_class, how = read_support_images(support), {"several": several, "progress": progress}
        self.learnt = learnt_images(self.encoder, by_class, self.modes, self.batch_size, **how)
        return self

    def add(self, name: str, images: Any) -> Self:
        """Adds a class, or images to one that is there.

        Args:
            name: of the class.
            images: as `data.readers.image_inputs.image_inputs` takes them.

        Raises:
            As `learn`.
        """
        by_class, several = read_support_images({name: images}), self.learnt is not None and self.learnt.several
        more = learnt_images(self.encoder, by_class, self.modes, self.batch_size, several=several)
        self.learnt = more if self.learnt is None else self.learnt.joined(more)
        return self

    def remove(self, name: str) -> Self:
        """Forgets a class.

        Raises:
            ValueError: there is no such class.
        """
        learnt = self._with_class(name, "remove")
        self.learnt = learnt.without([name])
        return self

    def rename(self, name: str, new: str) -> Self:
        """Gives a class another name.

        Raises:
            ValueError: there is no such class; the new name is another class's, or none.
        """
        learnt = self._with_class(name, "rename")
        check_class_names([new])
        if new in self.classes and new != name:
            raise UserError(f"{new!r} is the name of another class")
        self.learnt = learnt.renamed(name, new)
        return self

    def tune(self, seconds: float = 60.0) -> Self:
        """Trains on the embeddings of the support images: a metric, and representatives that move in it, as far as images
        that are held out are the better told apart for it; see `tuning.tuned`. Never worse than before by that estimate.

        Args:
            seconds: that it takes, about, at most.

        Raises:
            ValueError: nothing was learnt.
        """
        if self.learnt is None:
            raise UserError("there is nothing to tune: learn from images first")
        if self.learnt.several:
            raise UserError("tuning is for images of a single class each; it takes no set with several")
        self.learnt = tuned(self.learnt, seconds)
        return self

    def predict(
        self,
        images: Any,
        *,
        none_share: float | None = None,
        progress: bool = True,
        unreadable: list[str] | None = None,
    ) -> Prediction | Iterator[Prediction]:
        """Classifies images.

        Args:
            images: files, folders, globs, addresses, PIL images, arrays, tensors; see `data.readers.image_inputs`.
            none_share: call images that are unlike all classes none of them, and so at most about this share of the images
                that are of the classes; None: every image gets a class. It takes 1 / none_share - 1 support images.
            progress: a bar on the terminal where there are many images.
            unreadable: of several images, those that cannot be read are passed over where this is given, and a line about
                each is put there.

        Returns:
            For one image its prediction; else an iterator over those of all, in their order, computed as they are asked for:
            batch by batch, but one by one where the images come from an iterator, such as a camera's.

        Raises:
            ValueError: nothing was learnt; too few support images for `none_share`; an image that cannot be read.
            FileNotFoundError: an image that is not there; before any is looked at.
        """
        if self.learnt is None:
            raise UserError("there are no classes yet: learn from images first")
        if none_share is not None and self.learnt.several:
            raise UserError("none_share is for images of a single class; with several one of none has no class from 1/2 on")
        strangest = None if none_share is None else self.learnt.strangest(none_share)
        inputs = image_inputs(images)
        if is_one_image(images):
            return next(answers(self.encoder, self.learnt, inputs, self.batch_size, strangest, None))
        total = len(inputs) if isinstance(inputs, list) else None
        looked = answers(self.encoder, self.learnt, inputs, self.batch_size, strangest, unreadable)
        return bar(looked, "looking", total, show=progress)

    def _with_class(self, name: str, verb: str) -> LearntImages:
        if self.learnt is None or name not in self.classes:
            raise UserError(f"there is no class {name!r} to {verb}; there are: {', '.join(self.classes) or 'none'}")
        return self.learnt

    def _embeddings(self, images: Any) -> Floats:
        looked = batches(image_inputs(images), self.encoder.pixels, self.batch_size, None)
        return np.concatenate([self.encoder.embedded(pixels) for _, pixels in looked])

    def posterior(self, embeddings: Any, labels: Sequence[str | None]) -> tuple[tuple[str, ...], np.ndarray]:
        """The probabilities of embedded images, of which some show the classes; what was learnt plays no part.

        Args:
            embeddings: (n, e), as `embed` gives them.
            labels: n names, None of an image whose class is asked for.

        Returns:
            The classes in alphabetical order, and (n, N).

        Raises:
            ValueError: no image has a label, or there are not as many labels as images.
        """
        rows = np.asarray(embeddings, np.float32)
        shown = [i for i, name in enumerate(labels) if name is not None]
        if len(labels) != len(rows) or not shown:
            raise UserError(f"{len(rows)} images with {len(labels)} labels, of which {len(shown)} name a class")
        classes = tuple(sorted({str(labels[i]) for i in shown}))
        numbers = np.array([classes.index(str(labels[i])) for i in shown], np.int64)
        learnt = LearntImages.bare(classes, rows[shown], numbers, self.modes, self.encoder.sigma)
        return classes, learnt.probabilities(rows)

    def save(self, path: str | Path) -> None:
        """Writes the learnt classes: embeddings and small pictures of the support images, for this encoder alone.

        Raises:
            ValueError: nothing was learnt.
        """
        if self.learnt is None:
            raise UserError("there is nothing to save: learn from images first")
        encoder = {"source": self.encoder.source, "size": list(self.encoder.size), "digest": self.encoder.digest}
        write_classes(self.learnt, path, encoder)

    def load(self, path: str | Path) -> Self:
        """Takes what `save` wrote in the place of a support set. When it fails the classes stay as they were.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is another file, or was made with another encoder.
        """
        learnt, encoder = read_classes(path)
        if encoder["digest"] != self.encoder.digest or tuple(encoder["size"]) != self.encoder.size:
            source, side = encoder["source"], encoder["size"][0]
            raise UserError(
                f"{path}: was made with another encoder, {source} at {side} pixels; use that one, or learn from the "
                "images again"
            )
        self.learnt, self.modes = learnt, learnt.modes
        return self


def check_modes(modes: int | str | None) -> int | None:
    """The number of representatives, None for every image; raises ValueError for what is neither."""
    return None if modes in (None, "all") else _whole("modes", modes, ", or None or 'all' for every image")


def _whole(name: str, number: Any, other: str = "") -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise UserError(f"{name} is a whole number from 1{other}, not {number!r}")
    return number
