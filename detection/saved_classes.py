"""What a detector has learnt from a support set, by any method of scoring, and the small file that keeps it for later calls.

Shapes: N classes, S support embeddings, e embedding dimensions.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from torch import Tensor

from repmet.detection.scoring.methods import NearestRepresentative
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.scorer import ClassScorer, restored
from repmet.experiments.running.checkpoints import load_checkpoint, save_checkpoint

FORMAT = "repmet-classes-2"
FIRST_FORMAT = "repmet-representatives-1"  # RepMet's representatives alone, with their rule beside them


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedClasses:
    """What `detection.few_shot_detector.FewShotDetector.learn` keeps.

    Attributes:
        classes: N names.
        scorer: what the method has learnt.
        embeddings, labels: of every support embedding, (S, e) and (S,).
        crops: (S, h, w, 3) uint8, pictures of the supports.
        weights: by name, what fine-tuning has changed of the detector.
    """

    classes: tuple[str, ...]
    scorer: ClassScorer
    embeddings: Tensor
    labels: Tensor
    crops: Tensor
    weights: dict[str, Tensor]


def write_classes(learnt: SavedClasses, digest: str, path: str | Path) -> None:
    """Writes it with the digest of the weights that it fits; tensors and plain values, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {f.name: getattr(learnt, f.name) for f in fields(SavedClasses)} | {"scorer": learnt.scorer.state()}
    save_checkpoint({"format": FORMAT, "detector": digest, **kept}, path)


def read_classes(
    path: str | Path, digest: str, checkpoint: str | Path, base: Callable[[FewShotRule], Tensor | None]
) -> SavedClasses:
    """Reads what `write_classes` wrote, and files of the first format.

    Args:
        path: the file.
        digest: of the weights of the detector that asks.
        checkpoint: that detector's, for the message.
        base: the base classes' representatives where a rule lets them compete; the first format does not hold them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no such file, or was made with another checkpoint.
    """
    kept = load_checkpoint(path)
    if kept.get("format") not in (FORMAT, FIRST_FORMAT):
        raise ValueError(f"{path}: not a file of representatives ({FORMAT}); make one by --support DIR --save {path}")
    if kept["detector"] != digest:
        raise ValueError(
            f"{path}: was made with another checkpoint than {checkpoint}, whose embedding it does not fit; "
            "use that one, or learn from the support images again"
        )
    if kept["format"] == FIRST_FORMAT:
        rule = FewShotRule(**kept["rule"])
        scorer = NearestRepresentative(rule=rule, representatives=kept["representatives"], base=base(rule))
    else:
        scorer = restored(kept["scorer"])
    values = {f.name: kept[f.name] for f in fields(SavedClasses) if f.name != "scorer"}
    return SavedClasses(**values | {"classes": tuple(values["classes"])}, scorer=scorer)
