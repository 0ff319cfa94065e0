"""What every encoder has: its number of output channels, and parts that are frozen whatever mode it is put into."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class Encoder(nn.Module):
    """(B, C, H, W) -> (B, e) with `out_channels = e`.

    `model.train()` puts every module below into train mode, where batch norm follows the batches even if no parameter is
    trained. The two methods here outlast it.
    """

    out_channels: int

    def __init__(self) -> None:
        super().__init__()
        self.frozen = False
        self.frozen_statistics = False

    def freeze(self) -> None:
        """Nothing changes any more: no gradient reaches a parameter, and batch norm and dropout stay in eval mode."""
        self.frozen = True
        self.requires_grad_(False)
        self.eval()

    def freeze_statistics(self) -> None:
        """Batch norm keeps the mean and variance that it has; its weight and bias, and all else, are trained."""
        self.frozen_statistics = True
        self.train(self.training)

    def train(self, mode: bool = True) -> "Encoder":
        super().train(mode and not self.frozen)
        if self.frozen_statistics:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
