"""`logistic`: a class-balanced logistic regression on frozen RoI features, with the marked images' own background.

RepMet's background is what no support claims; here it is learnt from the images that the marks came with, whose other
regions are the best evidence there is of what the classes are not. It is fitted in a second or less and needs no training.

Shapes: N classes, P proposals of an image, R training rows, f features.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repmet.detection.embedding.embedded_image import FEATURES, EmbeddedImage
from repmet.detection.scoring.box_refinement import fit_boxes, moved
from repmet.detection.scoring.corrections import corrected_layer
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.scorer import ClassScorer
from repmet.detection.scoring.span_fit import Span, fit
from repmet.detection.scoring.training_rows import MarkedRegions, Rows, training_rows


@dataclass(frozen=True, kw_only=True, eq=False)
class LogisticRegression(ClassScorer):
    """Softmax over N classes and the background, linear in unit RoI features x:

    `p(c | x) = exp(w_c x + b_c) / sum_k exp(w_k x + b_k)`, the background last.

    Attributes:
        weight, bias: (N + 1, f) and (N + 1,).
        box_layer: (f + 1, 4), moves the boxes (`scoring.box_refinement`); None: they stay where they are.
        fitted: the rows that it was fitted to and their span, for corrections; a file keeps none of it.
    """

    weight: Tensor
    bias: Tensor
    box_layer: Tensor | None = None
    fitted: tuple[Rows, Span] | None = None

    @classmethod
    def learn(cls, supports: SupportSet, rule: FewShotRule) -> "LogisticRegression":
        """Fits `sum_r a_r CE(x_r, y_r) + decay |W|^2 / 2`; the weights a_r of each class sum to 1 / (N + 1)."""
        classes = len(supports)
        images = marked_regions(supports)
        rows = training_rows(images, classes, rule.marks)
        span = Span(rows.features)
        weight, bias = fit(span.coordinates, rows.labels, rows.shares(classes), classes, rule.logistic_decay)
        layer = None if rule.box_refinement is None else fit_boxes(images, rule.box_refinement)
        return cls(
            rule=rule,
            weight=_single(span.weights(weight)),
            bias=_single(bias),
            box_layer=None if layer is None else _single(layer),
            fitted=(rows, span),
        )

    def placed(self, image: EmbeddedImage) -> EmbeddedImage:
        if self.box_layer is None:
            return image
        boxes = moved(image.boxes.numpy(), image.embeddings[FEATURES].numpy(), self.box_layer.numpy())
        return replace(image, boxes=torch.from_numpy(boxes))

    def scores(self, image: EmbeddedImage) -> Tensor:
        return (image.embeddings[FEATURES] @ self.weight.T + self.bias).softmax(-1)[:, :-1]

    def corrected(self, image: MarkedRegions, number: int) -> "LogisticRegression":
        """After a region of an image was accepted as one of a class, or rejected: that class's row of the layer moves, all
        others stay bit for bit as they are.

        Args:
            image: with the one box that was accepted or rejected.
            number: of the class.
        """
        layer = self.weight.numpy(), self.bias.numpy()
        weight, bias, *fitted = corrected_layer(*layer, *self.fitted, image, number, self.rule.logistic_decay)
        return replace(self, weight=torch.from_numpy(weight), bias=torch.from_numpy(bias), fitted=tuple(fitted))

    def state(self) -> dict[str, Any]:
        return {name: value for name, value in super().state().items() if name != "fitted"}


def marked_regions(supports: SupportSet) -> list[MarkedRegions]:
    """The marked images of a support set as plain arrays."""
    images = dict.fromkeys(i for pairs in [*supports.boxes, *supports.rejected] for i, _ in pairs)
    return [regions_of(supports, name) for name in images]


def regions_of(supports: SupportSet, name: str) -> MarkedRegions:
    image, marked = supports.embedded[name], supports.by_image.get(name, {})
    refused = [box for pairs in supports.rejected for i, box in pairs if i == name]
    boxes, annotated = supports.records[name].boxes, image.annotated[FEATURES].numpy()
    views = [annotated] if image.views is None else [annotated, *image.views[FEATURES].numpy()]
    return MarkedRegions(
        proposals=image.proposals.numpy(),
        features=image.embeddings[FEATURES].numpy(),
        objectness=image.objectness.numpy(),
        boxes=boxes[list(marked)],
        labels=np.array(list(marked.values()), np.int64),
        marks=np.stack([view[list(marked)] for view in views]),
        rejected=boxes[refused],
        rejected_features=annotated[refused],
        predicted=image.boxes.numpy(),
    )


def _single(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
