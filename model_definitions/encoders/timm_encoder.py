"""Any model of timm: its pooled features as an encoder, its maps as a backbone. Both trees use this code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.encoders.encoder import Encoder
from repmet.model_definitions.encoders.timm_models import Renormalise, timm_model


class TimmEncoder(Encoder):
    """A model of timm without its classifier: (B, 3, H, W) -> (B, e).

    Args:
        name, weights: see `timm_model`.
        frozen: see `Encoder.freeze`.
        frozen_statistics: see `Encoder.freeze_statistics`.

    Raises:
        ValueError, FileNotFoundError: from `timm_model`.
    """

    def __init__(
        self,
        name: str,
        weights: str | Path | None = None,
        *,
        frozen: bool = False,
        frozen_statistics: bool = False,
    ) -> None:
        super().__init__()
        model = timm_model(name, weights, lambda model: model.reset_classifier(0))
        self.renormalise = Renormalise(model.pretrained_cfg["mean"], model.pretrained_cfg["std"])
        self.trunk = model.to(memory_format=torch.channels_last)  # quicker on a CPU
        self.out_channels = model.head_hidden_size
        if frozen_statistics:
            self.freeze_statistics()
        if frozen:
            self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        return self.trunk(self.renormalise(images).contiguous(memory_format=torch.channels_last))  # (B, e)


class TimmMaps(Encoder):
    """Maps of a model of timm at several strides: (B, 3, H, W) -> a tuple of (B, C_l, H / stride_l, W / stride_l).

    A convolutional model gives the outputs of its stages. A transformer has one stride; the maps of its last block are
    doubled and halved to three (bilinear, average), the simple pyramid of Li et al. 2022 (ViTDet) without its
    deconvolutions, since what follows is trained and this is not.

    A frozen model's maps are rounded to half precision, so that maps kept on disk and fresh ones are the same bit for bit.
    No gradient is kept for it.

    Args:
        name, weights: see `timm_model`.
        stages: the stages whose maps to give, by number from 0; of a transformer none may be named.
        frozen: see `Encoder.freeze`.
        frozen_statistics: see `Encoder.freeze_statistics`.

    Attributes:
        channels, strides: C_l and the stride of each map.

    Raises:
        ValueError: no such stage, or a model without maps; else from `timm_model`.
        FileNotFoundError: from `timm_model`.
    """

    def __init__(
        self,
        name: str,
        weights: str | Path | None = None,
        *,
        stages: Sequence[int] = (2, 3, 4),
        frozen: bool = True,
        frozen_statistics: bool = True,
    ) -> None:
        super().__init__()
        reductions: list[int] = []

        def cut(model: Any) -> None:
            if not hasattr(model, "forward_intermediates"):
                raise UserError(f"timm's {name} gives no maps of its stages; take a model that has `forward_intermediates`")
            reductions[:] = (info["reduction"] for info in model.feature_info)
            self.one_stride = len(set(reductions)) == 1
            self.stages = [len(reductions) - 1] if self.one_stride else list(stages)
            if not set(self.stages) <= set(range(len(reductions))):
                raise UserError(f"{name} has the stages 0 to {len(reductions) - 1}, not {list(stages)}")
            model.prune_intermediate_layers(self.stages, prune_norm=False, prune_head=True)

        try:  # transformers take images of any size if they are asked to
            model = timm_model(name, weights, cut, dynamic_img_size=True, dynamic_img_pad=True)
        except TypeError:  # models of convolutions do anyway
            model = timm_model(name, weights, cut)
        self.renormalise = Renormalise(model.pretrained_cfg["mean"], model.pretrained_cfg["std"])
        self.trunk = model.to(memory_format=torch.channels_last)
        if frozen_statistics:
            self.freeze_statistics()
        if frozen:
            self.freeze()
        last = reductions[self.stages[-1]]
        self.strides = [last // 2, last, last * 2] if self.one_stride else [reductions[i] for i in self.stages]
        with torch.no_grad():
            maps = self.eval()(torch.zeros(1, 3, 4 * last, 4 * last))
        self.train()
        self.channels = [level.shape[1] for level in maps]
        self.out_channels = self.channels[-1]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            inputs = self.renormalise(images).contiguous(memory_format=torch.channels_last)
            maps = self.trunk.forward_intermediates(inputs, indices=self.stages, intermediates_only=True)
            if self.one_stride:
                middle = maps[0]
                finer = F.interpolate(middle, scale_factor=2, mode="bilinear")
                maps = [finer, middle, F.avg_pool2d(middle, 2, ceil_mode=True)]
            return tuple(level.half().to(level.dtype) if self.frozen else level for level in maps)
