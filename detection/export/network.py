"""Graph A: an image to boxes, objectness and embeddings, from standard operators alone.

The modules are the detector's own. What mmdet and csrc do between them (anchors, deltas, levels, suppression) is written
here once more, in operators that have a counterpart in ONNX: RoiAlign with `half_pixel` coordinates is `aligned=True` of
csrc, and NonMaxSuppression drops, as csrc does, what overlaps a kept box by more than the threshold.

Shapes: H, W an image's height and width, P boxes, G marks, O objects, A anchors, R regions, C channels, f features.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import ops

from repmet.detection.modules.frozen_detector import FrozenBackboneRCNN, ObjectRPNHead
from repmet.detection.modules.frozen_head import FrozenFeatureHead, FrozenRoIExtractor, ObjectRoIHead
from repmet.errors import UserError

INPUTS = ("image", "marks")
OUTPUTS = ("boxes", "proposals", "objectness", "embeddings", "marked", "objects", "object_scores")
LARGEST_RATIO = abs(math.log(16 / 1000))  # of a box's side to its region's, mmdet's `wh_ratio_clip`


class ExportedNetwork(nn.Module):
    """A detector on a frozen backbone, in eval mode.

    Inputs:
        image: (H, W, 3) uint8, RGB, already of the size that the network sees.
        marks: (G, 4) float32, boxes in it whose embeddings are asked for; none as (0, 4).

    Outputs, all boxes x1, y1, x2, y2 in pixels of `image`, the best first:
        boxes: (P, 4), as the detector predicts them at last.
        proposals: (P, 4), the refined regions that the embeddings are pooled from.
        objectness: (P,), how well each fits an object of any class.
        embeddings: (P, f), of unit length.
        marked: (G, f), the embeddings of `marks`.
        objects, object_scores: (O, 4) and (O,), what the detector finds before it is shown a class.

    Raises:
        ValueError: a detector of another kind.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for part, kind in (
            (model, FrozenBackboneRCNN),
            (getattr(model, "rpn_head", None), ObjectRPNHead),
            (getattr(model, "roi_head", None), ObjectRoIHead),
            (model.roi_head.bbox_roi_extractor, FrozenRoIExtractor),
            (model.roi_head.bbox_head, FrozenFeatureHead),
        ):
            if not isinstance(part, kind):
                raise UserError(
                    "only detectors on a frozen backbone are exported (experiments/detection/photos.yaml): a "
                    f"{kind.__name__} is needed where this one has a {type(part).__name__}"
                )
        model = copy.deepcopy(model).eval()
        self.backbone, self.neck, self.rpn_head, self.roi_head = model.backbone, model.neck, model.rpn_head, model.roi_head
        self.multiple = int(model.data_preprocessor.pad_size_divisor)
        self.backbone.frozen = False  # its rounding is done here: casts to half and back are dropped by some runtimes
        pad_alike(self.backbone)
        self.register_buffer("mean", model.data_preprocessor.mean.reshape(3, 1, 1))
        self.register_buffer("std", model.data_preprocessor.std.reshape(3, 1, 1))

    def forward(self, image: Tensor, marks: Tensor) -> tuple[Tensor, ...]:
        head, rule = self.roi_head.bbox_head, self.roi_head.test_cfg
        height, width = (torch.scalar_tensor(side) for side in image.shape[:2])
        edge = torch.stack([width, height, width, height])
        levels = self.neck([rounded_to_half(level) for level in self.backbone(self._padded(image))])
        proposals, scores = self._proposals(levels, edge)
        logits, deltas = head(self._pyramid(levels, proposals))
        moved, fit = decode(proposals, deltas, head.bbox_coder.stds, edge), logits[:, 0].sigmoid()
        objects = Suppression.apply(moved, fit, rule.nms.iou_threshold, rule.max_per_img)
        kept = Suppression.apply(moved, (scores * fit).sqrt(), rule.nms.iou_threshold, rule.max_per_img)
        regions = torch.cat([moved[kept], marks])
        features, box_features = head.roi_features(self._pooled(levels, regions))
        embeddings = head.embed(features)
        boxes = decode(regions, head.fc_reg(box_features), head.bbox_coder.stds, edge)
        count = kept.shape[0]
        return (
            boxes[:count],
            regions[:count],
            fit[kept],
            embeddings[:count],
            embeddings[count:],
            moved[objects],
            fit[objects],
        )

    def _padded(self, image: Tensor) -> Tensor:
        """(H, W, 3) -> normalised (1, 3, H', W'), zeros at the lower right up to a multiple."""
        normalised = (image.permute(2, 0, 1).float() - self.mean) / self.std
        below, beside = ((-side) % self.multiple for side in image.shape[:2])
        return F.pad(normalised[None], (0, beside, 0, below))

    def _proposals(self, levels: Sequence[Tensor], edge: Tensor) -> tuple[Tensor, Tensor]:
        """As mmdet's ATSS: the best anchors of each level by class, then of all by class times centerness, after NMS."""
        head, rule = self.rpn_head, self.rpn_head.test_cfg
        anchors, scores = [], []
        grid = head.prior_generator
        for logits, deltas, centres, base, stride in zip(*head(levels), grid.base_anchors, grid.strides, strict=True):
            columns = logits.shape[3]
            score = logits[0, 0].flatten().sigmoid()  # (A,)
            best, at = score.topk(_at_most(rule.nms_pre, score))
            corner = torch.stack([at % columns, at // columns], 1).repeat(1, 2) * stride[0]
            deltas = deltas[0].permute(1, 2, 0).reshape(-1, 4)[at]
            anchors.append(decode(base.to(score) + corner, deltas, head.bbox_coder.stds, edge))
            scores.append(best * centres[0, 0].flatten()[at].sigmoid())
        boxes, values = torch.cat(anchors), torch.cat(scores)
        sides = boxes[:, 2:] - boxes[:, :2]
        real = (sides.amin(1) > rule.min_bbox_size).nonzero()[:, 0]
        boxes, values = boxes[real], values[real]
        kept = Suppression.apply(boxes, values, rule.nms.iou_threshold, rule.max_per_img)
        return boxes[kept], values[kept]

    def _pyramid(self, levels: Sequence[Tensor], regions: Tensor) -> Tensor:
        """Of each region (R, 4) the bins of the level that suits its size, (R, C * h * w); as `roi_align_pyramid`."""
        extractor = self.roi_head.bbox_roi_extractor
        sides = regions[:, 2:] - regions[:, :2]
        wanted = (sides.prod(1).sqrt() / extractor.finest_scale + 1e-6).log2().floor()
        wanted = wanted.clamp(0, len(extractor.featmap_strides) - 1)
        rois, parts, places = F.pad(regions, (1, 0)), [], []
        for number, layer in enumerate(extractor.roi_layers):
            at = (wanted == number).nonzero()[:, 0]
            pooling = layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned
            parts.append(ops.roi_align(levels[number], rois[at], *pooling))
            places.append(at)
        return torch.cat(parts)[torch.cat(places).argsort()].flatten(1)

    def _pooled(self, levels: Sequence[Tensor], regions: Tensor) -> Tensor:
        """What `FrozenRoIExtractor` gives of regions (R, 4): the pyramid's bins, and those of the frozen maps."""
        extractor = self.roi_head.bbox_roi_extractor
        rois, parts = F.pad(regions, (1, 0)), [self._pyramid(levels, regions)]
        for level, (stride, _) in zip(levels[extractor.pyramid_levels :], extractor.maps, strict=True):
            bins = (extractor.cells, extractor.cells)
            parts.append(ops.roi_align(level, rois, bins, 1 / stride, 2, True).flatten(1))
        return torch.cat(parts, 1)


class Suppression(torch.autograd.Function):
    """The first boxes that NMS keeps, the best first. torchvision's own export keeps all and costs three times as much."""

    @staticmethod
    def forward(ctx: object, boxes: Tensor, scores: Tensor, iou: float, count: int) -> Tensor:
        return ops.nms(boxes, scores, iou)[:count]

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, iou: float, count: int) -> Any:
        def constant(value: object, dtype: torch.dtype) -> Any:
            return g.op("Constant", value_t=torch.tensor(value, dtype=dtype))

        first, both = constant([0], torch.int64), constant([0, 1], torch.int64)
        inputs = g.op("Unsqueeze", boxes, first), g.op("Unsqueeze", scores, both)  # (1, P, 4), (1, 1, P)
        limits = constant([count], torch.int64), constant([iou], torch.float32)
        chosen = g.op("NonMaxSuppression", *inputs, *limits)  # (n, 3): image, class, box
        return g.op("Gather", chosen, constant(2, torch.int64), axis_i=1)


def pad_alike(backbone: nn.Module) -> None:
    """TensorFlow's padding of timm's `Conv2dSame`, which looks at each map's size, as the constants that it comes to.

    A map whose sides are multiples of the stride gets k - s pixels, the odd one at its end; here all are, as the image is
    padded to a multiple of the largest stride.
    """
    from timm.layers import Conv2dSame

    for name, layer in list(backbone.named_modules()):
        if isinstance(layer, Conv2dSame):
            plain = nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size,
                layer.stride,
                dilation=layer.dilation,
                groups=layer.groups,
                bias=layer.bias is not None,
            )
            plain.load_state_dict(layer.state_dict())
            pads = []
            for axis in (1, 0):
                total = max(layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1 - layer.stride[axis], 0)
                pads += [total // 2, total - total // 2]
            backbone.set_submodule(name, nn.Sequential(nn.ZeroPad2d(tuple(pads)), plain))


def decode(regions: Tensor, deltas: Tensor, stds: Sequence[float], edge: Tensor) -> Tensor:
    """Regions (R, 4) moved by deltas (R, 4) (Girshick et al. 2014, R-CNN, equations 1 to 4), cut off at `edge` (4,)."""
    shift, growth = (deltas * deltas.new_tensor(stds)).split(2, 1)
    centre, sides = (regions[:, :2] + regions[:, 2:]) * 0.5, regions[:, 2:] - regions[:, :2]
    centre = centre + sides * shift
    half = sides * growth.clamp(-LARGEST_RATIO, LARGEST_RATIO).exp() * 0.5
    return torch.minimum(torch.cat([centre - half, centre + half], 1).clamp(min=0), edge)


def rounded_to_half(maps: Tensor) -> Tensor:
    """float32 rounded to the 11 bits of half precision, by arithmetic that no runtime may leave out (Veltkamp's splitting).

    The kept maps that the detector was trained on are rounded so (`model_definitions.encoders.timm_encoder`).
    """
    much = maps * (2**13 + 1)
    return much - (much - maps)


def _at_most(count: int, values: Tensor) -> int | Tensor:
    """`count`, or as many as there are; as a tensor while a graph is traced, so that it is computed for every image."""
    if torch.jit.is_tracing():
        return torch.minimum(torch.tensor(count), torch.as_tensor(values.shape[0]))
    return min(count, len(values))
