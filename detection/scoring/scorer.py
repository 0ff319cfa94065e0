"""What a method has learnt from a support set: a small object that scores any image, and can be kept in a file.

Shapes: N classes, P proposals of an image.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import Tensor

from repmet.detection.embedding.embedded_image import EmbeddedImage, joined
from repmet.detection.scoring.detections import Detections
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.suppression import after_nms
from repmet.errors import UserError

_KINDS: dict[str, type["ClassScorer"]] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassScorer(ABC):
    """Scores of the classes of a support set for the proposals of any image.

    A kind of scorer is a frozen dataclass whose other fields are tensors and plain values, and nothing else: that is what
    `state` keeps. It is registered by its class's name when it is defined.

    Attributes:
        rule: by which the supports were read and detections are made.
    """

    rule: FewShotRule

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        _KINDS[cls.__name__] = cls

    @abstractmethod
    def scores(self, image: EmbeddedImage) -> Tensor:
        """Probabilities of the classes, (P, N)."""

    def placed(self, image: EmbeddedImage) -> EmbeddedImage:
        """The image with its boxes where this scorer reports them."""
        return image

    def detect(self, images: Sequence[EmbeddedImage]) -> list[Detections]:
        """Detections of every image, class by class with the best first, after NMS."""
        placed = [self.placed(image) for image in images]
        return [detections for detections, _ in after_nms(placed, self.scores(joined(placed)), self.rule)]

    def state(self) -> dict[str, Any]:
        """Its kind, tensors and plain values, as `restored` takes them."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"kind": type(self).__name__, **kept, "rule": asdict(self.rule)}


def restored(state: Mapping[str, Any]) -> ClassScorer:
    """The scorer of which this is the state.

    Raises:
        ValueError: no such kind, or its values are not those of that kind.
    """
    values = dict(state)
    kind = values.pop("kind", None)
    if kind not in _KINDS:
        raise UserError(f"no kind of scorer {kind!r}; there are {', '.join(sorted(_KINDS))}")
    try:
        return _KINDS[kind](**values | {"rule": FewShotRule(**values["rule"])})
    except (TypeError, KeyError) as error:
        raise UserError(f"not the state of a {kind}: {error}") from None
