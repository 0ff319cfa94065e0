"""From marked images to what a detector keeps of them.

Shapes: S support embeddings, e embedding dimensions.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from repmet.data.readers.annotated_folder import class_names
from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.embedding.views import with_views
from repmet.detection.episodes.episode import plain_boxes
from repmet.detection.episodes.open_image import picture
from repmet.detection.pictures.drawing import support_crop
from repmet.detection.saved_classes import SPACE, SavedClasses
from repmet.detection.scoring.calibration import Calibration
from repmet.detection.scoring.finetune import FinetuneRule, adapted
from repmet.detection.scoring.methods import Method, NearestRepresentative
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.scorer import ClassScorer
from repmet.detection.scoring.thresholds import calibration_of
from repmet.detection.tuned_weights import tuned_weights


def learn(
    records: Sequence[ImageRecord], method: Method, embedder: Embedder, finetune: FinetuneRule | None = None
) -> tuple[SavedClasses, SupportSet]:
    """What a method learns from the plain boxes of some images, and these as its supports; the model stays as it is.

    Args:
        finetune: train the detector on the images first; `weights` of what is kept are those that it changed.

    Raises:
        EpisodeDiverged: fine-tuning came to a loss that is not finite.
    """
    supports = embedded_supports(records, embedder, method.rule)
    if finetune is None:
        return taught(supports, method), supports
    model, points = embedder.model, supports.representatives(method.rule, SPACE)
    with adapted(model, embedder.pipeline.transforms, supports, points, finetune) as points:
        supports = embedded_supports(records, embedder, method.rule)
        weights = tuned_weights(model, finetune.train)
    scorer = NearestRepresentative(rule=method.rule, representatives=points, space=SPACE, base=method.base)
    return saved_classes(supports, scorer, weights), supports


def embedded_supports(records: Sequence[ImageRecord], embedder: Embedder, rule: FewShotRule) -> SupportSet:
    """Every plain box of the records as a support, their images embedded; classes in alphabetical order."""
    names = [n for n in class_names(records) if any(plain_boxes(r, n) for r in records)]
    boxes = [[(r.id, box) for r in records for box in plain_boxes(r, name)] for name in names]
    embedded = with_views(embedder(records), records, embedder, rule.other_looks)
    return SupportSet(tuple(names), boxes, {r.id: r for r in records}, embedded)


def taught(supports: SupportSet, method: Method) -> SavedClasses:
    """What a method learns from supports, its scores calibrated."""
    scorer = method.learn(supports)
    return saved_classes(supports, scorer, calibration=calibration_of(scorer, supports))


def saved_classes(
    supports: SupportSet,
    scorer: ClassScorer,
    weights: Mapping[str, Tensor] | None = None,
    calibration: Calibration | None = None,
) -> SavedClasses:
    """What is kept of the supports beside what a method learnt from them.

    Args:
        weights: what fine-tuning has changed of the detector.
    """
    by_class = supports.embeddings(scorer.rule, SPACE)
    flat = [(c, box, e) for c, pairs in enumerate(by_class) for box, e in zip(supports.boxes[c], pairs, strict=True)]
    pictures = {i: picture(supports.records[i]) for i in supports.by_image}
    crops = [np.asarray(support_crop(pictures[i], supports.records[i].boxes[b])) for _, (i, b), _ in flat]
    counts = torch.tensor([len(e) for *_, e in flat])
    return SavedClasses(
        classes=supports.classes,
        scorer=scorer,
        embeddings=torch.cat([e for *_, e in flat]),
        labels=torch.tensor([c for c, *_ in flat]).repeat_interleave(counts),
        boxes=torch.arange(len(flat)).repeat_interleave(counts),
        crops=torch.from_numpy(np.stack(crops)).repeat_interleave(counts, 0),
        weights=dict(weights or {}),
        calibration=calibration,
    )
