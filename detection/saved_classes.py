"""What a detector has learnt from a support set, and the small file that keeps it for later calls.

Shapes: N classes, K representatives a class, S support embeddings, e embedding dimensions.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from torch import Tensor

from repmet.detection.scoring.fewshot import FewShotRule
from repmet.experiments.running.checkpoints import load_checkpoint, save_checkpoint

FORMAT = "repmet-representatives-1"


@dataclass(frozen=True)
class Learnt:
    """What `detection.few_shot_detector.FewShotDetector.learn` keeps.

    Attributes:
        representatives: (N, K, e), unit length.
        embeddings, labels: of every support embedding, (S, e) and (S,).
        crops: (S, h, w, 3) uint8, pictures of the supports.
        weights: by name, what fine-tuning has changed of the detector.
    """

    classes: tuple[str, ...]
    representatives: Tensor
    embeddings: Tensor
    labels: Tensor
    crops: Tensor
    rule: FewShotRule
    weights: dict[str, Tensor]


def write_learnt(learnt: Learnt, digest: str, path: str | Path) -> None:
    """Writes it with the digest of the weights that it fits; tensors and plain values, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {f.name: getattr(learnt, f.name) for f in fields(Learnt)} | {"rule": asdict(learnt.rule)}
    save_checkpoint({"format": FORMAT, "detector": digest, **kept}, path)


def read_learnt(path: str | Path, digest: str, checkpoint: str | Path) -> Learnt:
    """Reads what `write_learnt` wrote.

    Args:
        path: the file.
        digest: of the weights of the detector that asks.
        checkpoint: that detector's, for the message.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no such file, or was made with another checkpoint.
    """
    kept = load_checkpoint(path)
    if kept.get("format") != FORMAT:
        raise ValueError(f"{path}: not a file of representatives ({FORMAT}); make one by --support DIR --save {path}")
    if kept["detector"] != digest:
        raise ValueError(
            f"{path}: was made with another checkpoint than {checkpoint}, whose embedding it does not fit; "
            "use that one, or learn from the support images again"
        )
    values = {f.name: kept[f.name] for f in fields(Learnt)}
    return Learnt(**values | {"classes": tuple(values["classes"]), "rule": FewShotRule(**values["rule"])})
