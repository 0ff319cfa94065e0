"""ResNet with deformable convolution in chosen blocks, as the released RepMet detector has it."""

from collections.abc import Mapping, Sequence

from mmcv.cnn import build_conv_layer
from mmcv.ops import DeformConv2dPack
from mmdet.models.backbones import ResNet
from mmdet.registry import MODELS

from repmet.errors import UserError


@MODELS.register_module()
class SelectiveDCNResNet(ResNet):
    """mmdet's ResNet (bottleneck depths) with the 3x3 convolution of single blocks made deformable (version 1).

    mmdet's own `dcn` option deforms every block of a stage. The new convolutions have the names and shapes of those they
    replace, so ImageNet weights load; their offsets start at zero.

    Args:
        dcn_blocks: by stage 1..4, the indices of the blocks.
        deform_groups: groups of channels with offsets of their own.
        **kwargs: as mmdet's `ResNet`.

    Raises:
        ValueError: a depth without bottlenecks, or a block that the stage does not have.
    """

    def __init__(self, dcn_blocks: Mapping[int, Sequence[int]], deform_groups: int = 1, **kwargs) -> None:
        super().__init__(**kwargs)
        for stage, blocks in dcn_blocks.items():
            layer = getattr(self, f"layer{stage}", ())
            for index in blocks:
                if not 0 <= index < len(layer):
                    raise UserError(f"dcn_blocks: stage {stage} has {len(layer)} blocks, there is no block {index}")
                block = layer[index]
                if not hasattr(block, "conv3"):
                    raise UserError(f"dcn_blocks: depth {self.depth} has no bottleneck blocks; take 50, 101 or 152")
                old = block.conv2
                block.conv2 = build_conv_layer(
                    {"type": "DCN", "deform_groups": deform_groups},
                    old.in_channels,
                    old.out_channels,
                    kernel_size=3,
                    stride=old.stride,
                    padding=old.dilation,
                    dilation=old.dilation,
                    bias=False,
                )

    def init_weights(self) -> None:
        super().init_weights()
        start = [self.init_cfg] if isinstance(self.init_cfg, Mapping) else self.init_cfg or []
        if any(rule.get("type") == "Pretrained" for rule in start):
            return  # such a file may bring offsets, and where it does not they are still at zero
        for module in self.modules():
            if isinstance(module, DeformConv2dPack):
                module.init_offset()  # Kaiming's rule for convolutions has reached those that predict offsets
