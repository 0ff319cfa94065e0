"""Per-episode fine-tuning: the detector itself is trained on an episode's supports, and is afterwards exactly as it was.

Protocol: RepMet (Karlinsky et al., CVPR 2019) with fine-tuning. The episode's representatives start at the support
embeddings and are trained with the network; the linear classifier of the base training takes no part. Unlike the released
code, which lists an image once for each box and takes its other objects for background, objects without a label are ignored,
and boxes are learnt by the normalised targets that the checkpoint was trained with (mmdet's coder scales both ways).
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from repmet.detection.dataset import batches_of_one_size, sample, to_data_info
from repmet.detection.scoring.representatives import SupportSet
from repmet.errors import UserError
from repmet.model_definitions.representatives import Representatives

PARTS = ("embedding", "head", "all")


class EpisodeDiverged(UserError):
    """A loss or weights that are not finite: the episode is to be skipped and named."""


@dataclass(frozen=True, kw_only=True)
class FinetuneRule:
    """How an episode fine-tunes.

    Attributes:
        train: what is trained beside the representatives: the `embedding` layer, the box `head` (the released `freeze 2`
            adds its layers to `freeze 1`), or `all` that the base training trained (`freeze 0`).
        epochs: passes over the support images.
        lr, momentum, weight_decay: of SGD.
        batch_size: support images a step.
        seed: of the choice of regions.
    """

    train: str = "embedding"
    epochs: int = 5
    lr: float = 5e-4
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.train not in PARTS:
            raise UserError(f"finetune.train is one of {', '.join(PARTS)}, not {self.train!r}")
        if self.epochs < 1 or self.lr <= 0 or self.batch_size < 1:
            raise UserError(f"fine-tuning takes epochs and batch_size of at least 1 and lr > 0, not {self}")


def support_infos(supports: SupportSet) -> list[dict]:
    """mmdet's description of every distinct support image: support boxes with their class's number, all others ignored."""
    infos = []
    for image, numbers in supports.by_image.items():
        info = to_data_info(supports.records[image], ())
        for b, instance in enumerate(info["instances"]):
            instance |= {"bbox_label": numbers.get(b, 0), "ignore_flag": int(b not in numbers)}
        infos.append(info)
    return infos


@contextlib.contextmanager
def adapted(
    model: nn.Module,
    pipeline: list,
    supports: SupportSet,
    representatives: Tensor,
    rule: FinetuneRule,
) -> Iterator[Tensor]:
    """The model fine-tuned on an episode's supports; on leaving, whatever happened, it is bit for bit as it was.

    Args:
        model: a trained two-stage detector with a `RepMetBBoxHead`, in eval mode (batch statistics stay those of training).
        pipeline: mmdet's test pipeline; annotations are loaded after its first step.
        supports: the marked boxes of every class; the images are read anew, what is embedded is not looked at.
        representatives: (N, K, e), where the episode's begin.

    Yields:
        The trained representatives, (N, K, e).

    Raises:
        EpisodeDiverged: a loss is not finite, or in the end the weights.
        ValueError: the head has negative representatives, which are those of the base classes.
    """
    check_trainable(model)
    head = model.roi_head.bbox_head
    kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
    modules = head.representatives, head.fc_aux, head.num_classes
    wanted = {name: p.requires_grad for name, p in model.named_parameters()}
    new = Representatives(*representatives.shape, normalize=head.representatives.normalize).to(head.representatives.weight)
    with torch.no_grad():
        new.weight.copy_(representatives)
    try:
        head.representatives, head.fc_aux, head.num_classes = new, None, len(representatives)
        with torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed(rule.seed)
            _train(model, pipeline, supports, rule)
        yield new.points.detach().cpu()
    finally:
        head.representatives, head.fc_aux, head.num_classes = modules
        for name, p in model.named_parameters():
            p.requires_grad_(wanted[name])
            p.grad = None
        model.load_state_dict(kept)


def check_trainable(model: nn.Module) -> None:
    """Raises ValueError for a head that cannot be fine-tuned on an episode."""
    if hasattr(model.roi_head.bbox_head, "negatives"):
        raise UserError("fine-tuning knows no negative representatives yet: use a RepMetBBoxHead for it")


def trained_parameters(model: nn.Module, part: str) -> list[nn.Parameter]:
    """The parameters that an episode trains, see `FinetuneRule.train`; never one that the base training kept fixed."""
    head = model.roi_head.bbox_head
    modules = {"embedding": [head.representatives, head.fc_embed], "head": [head], "all": [model]}[part]
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def _train(model: nn.Module, pipeline: list, supports: SupportSet, rule: FinetuneRule) -> None:
    parameters = trained_parameters(model, rule.train)
    for p in model.parameters():
        p.requires_grad_(False)
    for p in parameters:
        p.requires_grad_(True)
    with DefaultScope.overwrite_default_scope("mmdet"):
        load = Compose([pipeline[0], {"type": "LoadAnnotations", "with_bbox": True}, *pipeline[1:]])
    infos = support_infos(supports)
    records = [supports.records[info["img_id"]] for info in infos]
    batches = list(batches_of_one_size(records, rule.batch_size))

    def losses(batch: list[int]) -> dict[str, Tensor]:
        data = model.data_preprocessor(pseudo_collate([sample(load, records[k], infos[k]) for k in batch]), True)
        return model.parse_losses(model.loss(data["inputs"], data["data_samples"]))[1]

    fit(parameters, batches, losses, rule)


def fit(
    parameters: Sequence[nn.Parameter], batches: Sequence, losses: Callable[[Any], dict[str, Tensor]], rule: FinetuneRule
) -> None:
    """Trains by SGD on the batches, `rule.epochs` times over.

    Args:
        losses: the terms of a batch's loss by name, those whose name holds "loss"; others are not looked at.

    Raises:
        EpisodeDiverged: a loss is not finite, or in the end the weights.
    """
    optimizer = torch.optim.SGD(parameters, lr=rule.lr, momentum=rule.momentum, weight_decay=rule.weight_decay)
    for epoch in range(rule.epochs):
        for batch in batches:
            parts = {name: value for name, value in losses(batch).items() if "loss" in name and name != "loss"}
            loss = sum(parts.values())
            if not torch.isfinite(loss):
                bad = [name for name, value in parts.items() if not torch.isfinite(value)]
                raise EpisodeDiverged(f"{', '.join(bad)} is not finite in epoch {epoch + 1} of fine-tuning")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if not all(torch.isfinite(p).all() for p in parameters):  # no loss follows the last step
        raise EpisodeDiverged(f"the weights are not finite after {rule.epochs} epochs of fine-tuning")


def finetune_rule(section: Mapping | None) -> FinetuneRule:
    """The rule of an experiment's `finetune` section."""
    return FinetuneRule(**dict(section or {}))
