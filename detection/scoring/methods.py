"""The methods that score an episode on images embedded once: from supports to class scores of any image's proposals.

repmet              posterior of the nearest representative (RepMet, CVPR 2019, eq. 2 and 3)
baseline_untrained  the same with the head as it was initialised
baseline_roi        baseline-DML: the same in the RoI features of the detector
np_repmet           NP-RepMet: representatives of what nearly is the object count against it (Yang et al., NeurIPS 2020)
calibrated          RepMet's scores blended with the cosine to the class mean of RoI features (prototypical calibration block
                    of DeFRCN, Qiao et al., ICCV 2021, with the detector's own features)
baseline_ft         baseline-FT: a new last layer, fitted to the supports' proposals (RepMet, table 2)
tfa_cosine          TFA: that layer a cosine classifier (Wang et al., ICML 2020, eq. 3)
logistic            class-balanced logistic regression on RoI features, with the marked images' own background
tuned               logistic with settings that leaving out the marked images has chosen, boxes moved to where the marks lie

Shapes: N classes of the episode, K representatives a class, P proposals, f features, e dimensions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from repmet.detection.embedding.embedded_image import FEATURES, SPACES, EmbeddedImage
from repmet.detection.scoring.class_scores import class_scores
from repmet.detection.scoring.detections import Detections
from repmet.detection.scoring.last_layer import LastLayer
from repmet.detection.scoring.logistic import LogisticRegression
from repmet.detection.scoring.nearest import NearestRepresentative
from repmet.detection.scoring.negatives import NegativeRepresentatives
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.scorer import ClassScorer
from repmet.detection.scoring.tuning import tuned
from repmet.errors import UserError


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibrated(ClassScorer):
    """`calibrated`: (1 - c) RepMet's score + c max(0, cosine to the class's mean RoI feature), c the rule's `calibration`.

    Attributes:
        representatives, base: as of `NearestRepresentative`, in RepMet's embedding.
        means: (N, f) of unit length.
    """

    representatives: Tensor
    means: Tensor
    base: Tensor | None = None

    def scores(self, image: EmbeddedImage) -> Tensor:
        share = self.rule.calibration
        posterior = class_scores(image.embeddings["repmet"], self.representatives, self.rule, self.base)
        return (1 - share) * posterior + share * (image.embeddings[FEATURES] @ self.means.T).clamp_min(0)


def _nearest(space: str) -> Callable[[SupportSet, FewShotRule, Tensor | None], ClassScorer]:
    def learn(supports: SupportSet, rule: FewShotRule, base: Tensor | None) -> NearestRepresentative:
        others = base if space == "repmet" else None  # they have representatives in RepMet's embedding alone
        points = supports.representatives(rule, space)
        return NearestRepresentative(rule=rule, representatives=points, space=space, base=others)

    return learn


def _calibrated(supports: SupportSet, rule: FewShotRule, base: Tensor | None) -> Calibrated:
    points = supports.representatives(rule, "repmet")
    means = supports.representatives(rule, FEATURES, modes=1)[:, 0]
    return Calibrated(rule=rule, representatives=points, means=means, base=base)


METHODS: dict[str, Callable[[SupportSet, FewShotRule, Tensor | None], ClassScorer]] = {
    **{space: _nearest(space) for space in SPACES},
    "np_repmet": NegativeRepresentatives.learn,
    "calibrated": _calibrated,
    "baseline_ft": lambda supports, rule, _: LastLayer.learn(supports, rule),
    "tfa_cosine": lambda supports, rule, _: LastLayer.learn(supports, rule, scale=rule.cosine_scale),
    "logistic": lambda supports, rule, _: LogisticRegression.learn(supports, rule),
    "tuned": lambda supports, rule, _: LogisticRegression.learn(supports, tuned(supports, rule).rule),
}
DEFAULT_METHODS = SPACES  # RepMet and what it is compared with, where an experiment names none
# What the methods look at that need not look at everything.
_SPACES = {
    **dict.fromkeys(("repmet", "np_repmet"), ("repmet",)),
    **dict.fromkeys(("logistic", "tuned", "baseline_ft", "tfa_cosine"), ("repmet", FEATURES)),
}


@dataclass(frozen=True)
class Method:
    """A way of scoring, ready to be taught any supports.

    Attributes:
        name: one of `METHODS`.
        rule: how supports become classes and boxes detections.
        base: (N_b, K, e), of classes that compete without being looked for, where the scores come from RepMet's embedding
            (`repmet`, `np_repmet`, `calibrated`).

    Raises:
        ValueError: there is no such method.
    """

    name: str
    rule: FewShotRule
    base: Tensor | None = None

    def __post_init__(self) -> None:
        check_methods([self.name])

    def learn(self, supports: SupportSet) -> ClassScorer:
        """The scores that it gives after it has seen the supports."""
        return METHODS[self.name](supports, self.rule, self.base)

    def detect(self, supports: SupportSet, queries: Sequence[EmbeddedImage]) -> list[Detections]:
        """What it finds of the supports' classes in each query."""
        return self.learn(supports).detect(queries)


def check_methods(names: Sequence[str]) -> None:
    """Raises ValueError for a name that is none of `METHODS`."""
    for name in names:
        if name not in METHODS:
            raise UserError(f"no few-shot method {name!r}; there are {', '.join(METHODS)}")


def spaces_of(methods: Sequence[str]) -> tuple[str, ...]:
    """The embeddings to keep for some methods, of `SPACES`.

    Those that the methods look at, for the sake of memory, where few do; else all, so that another choice of methods finds
    them kept.
    """
    looked_at = set().union(*(_SPACES.get(name, SPACES) for name in methods))
    return tuple(space for space in SPACES if space in looked_at)
