"""Training in bfloat16 where that is quicker: `--amp` on a CPU, and the optimizer wrapper for it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


def cpu_multiplies_bfloat16() -> bool:
    """Whether this processor has matrix units for bfloat16 (AMX): without them float32 is as quick, and exacter."""
    return torch.cpu._is_amx_tile_supported()


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """The forward pass under bfloat16 autocast on a CPU with matrix units for it, in float32 on any other.

    bfloat16 has float32's range, so no loss is scaled. Weights, their gradients and the optimizer's state stay float32, and
    so do distances to representatives (see `squared_distances`). For GPUs there is mmengine's `AmpOptimWrapper`.

    Args:
        kwargs: as mmengine's `OptimWrapper`.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.enabled = cpu_multiplies_bfloat16()
        print_log(f"training in {'bfloat16' if self.enabled else 'float32'}", logger="current")

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast("cpu", torch.bfloat16, enabled=self.enabled):
            yield
