"""Embed once: every distinct image goes through the detector a single time; its boxes and embeddings are kept.

Shapes: P proposals of an image, G annotated boxes of it, e embedding dimensions, f features before the embedding.
"""

import copy
from collections.abc import Iterable, Sequence
from functools import cached_property

import torch
import torch.nn.functional as F
from mmengine.dataset import Compose, pseudo_collate
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from repmet.data.sources.voc import ImageRecord
from repmet.detection.checkpoint import Detector
from repmet.detection.dataset import batches_of_one_size, sample
from repmet.detection.embedding.cache import EmbeddingCache
from repmet.detection.embedding.embedded_image import SPACES, EmbeddedImage
from repmet.detection.embedding.kept_maps import KeptMaps, kept_maps_of, view_of
from repmet.detection.embedding.recent import RecentEmbeddings
from repmet.detection.modules.frozen_detector import FrozenBackboneRCNN, pad_levels
from repmet.errors import UserError
from repmet.experiments.running.processes import my_share, say

from mmdet.structures.bbox import bbox2roi  # isort: skip

UNTRAINED_SEED = 9001  # one untrained head whatever the seed of the episodes: they are arithmetic on the same embeddings


class Embedder:
    """Runs the trained network over images, for RepMet's embedding space and for those of the two baselines at once.

    repmet              E of the trained head
    baseline_untrained  E of the same head as it was initialised, on the same trained backbone: what training the head gives
    baseline_roi        the trained head's RoI features, from which E is computed, at unit length: what the embedding gives

    Args:
        model: a trained mmdet two-stage detector with a `RepMetBBoxHead`, in eval mode.
        pipeline: mmdet's test pipeline.
        seed: of the untrained head.
        batch_size: images a forward pass.
        spaces: what the kept embeddings come from, of the three above; fewer take less memory.
        share: let the processes of a distributed run share the images; without it each embeds what it asks for.
        cache: where embedded images are kept and found again.
        maps: where the maps of a frozen backbone are, those of a training on kept maps among them.

    Raises:
        ValueError: the head has no embedding, or predicts boxes by class.
    """

    def __init__(
        self,
        model: nn.Module,
        pipeline: list,
        *,
        seed: int = UNTRAINED_SEED,
        batch_size: int = 8,
        spaces: Sequence[str] = SPACES,
        share: bool = True,
        cache: EmbeddingCache | RecentEmbeddings | None = None,
        maps: KeptMaps | None = None,
    ) -> None:
        head = model.roi_head.bbox_head
        if not hasattr(head, "embed"):
            raise UserError(f"few-shot episodes need a RepMetBBoxHead; this detector's head is a {type(head).__name__}")
        if not head.reg_class_agnostic:
            raise UserError("few-shot episodes need boxes for classes never seen: train with reg_class_agnostic=True")
        self.model, self.head, self.batch_size = model.eval(), head, batch_size
        self.spaces, self.share, self.cache, self.seed = tuple(spaces), share, cache, seed
        self.view = view_of(pipeline)
        self.maps = maps if self.view is not None else None
        with DefaultScope.overwrite_default_scope("mmdet"):
            self.pipeline = Compose(pipeline)

    @cached_property
    def untrained(self) -> nn.Module:
        """The head as it was initialised; made when its space is asked for, since most uses never ask."""
        logger = MMLogger.get_current_instance()
        level = logger.level
        logger.setLevel("ERROR")  # mmengine lists every parameter that it initialises
        try:
            with torch.inference_mode(False), torch.random.fork_rng():  # it may be asked for in the midst of inference
                torch.manual_seed(self.seed)
                head = copy.deepcopy(self.head)
                for module in head.modules():
                    if hasattr(module, "reset_parameters"):
                        module.reset_parameters()
                head._is_init = False
                head.init_weights()
        finally:
            logger.setLevel(level)
        return head

    def __call__(self, records: Iterable[ImageRecord]) -> dict[str, EmbeddedImage]:
        """The embedded images by id. Each record is read once; several processes share the batches and get all of them."""
        distinct = list({r.id: r for r in records}.values())
        result = self._kept(distinct)
        fresh = [r for r in distinct if r.id not in result]
        batches = list(batches_of_one_size(fresh, self.batch_size))
        for batch in my_share(batches) if self.share else batches:
            chosen = [fresh[i] for i in batch]
            for record, image in zip(chosen, self._batch(chosen), strict=True):
                result[record.id] = image
                if self.cache is not None:
                    self.cache.put(record, image)
        for part in all_gather_object(result) if self.share else ():
            result |= part
        return {r.id: result[r.id] for r in distinct}

    def _kept(self, records: Sequence[ImageRecord]) -> dict[str, EmbeddedImage]:
        """What the cache holds of these images. One process looks: what it misses is shared, as all must see it alike."""
        if self.cache is None:
            return {}
        cached: list[dict[str, EmbeddedImage]] = [{}]
        if is_main_process() or not self.share:
            cached = [{r.id: image for r in records if (image := self.cache.get(r)) is not None}]
        if self.share:
            broadcast_object_list(cached)
        if cached[0] and self.cache.folder:
            say(f"{len(cached[0])} of {len(records)} images were embedded before: {self.cache.folder}")
        return cached[0]

    @torch.inference_mode()
    def _batch(self, records: list[ImageRecord]) -> list[EmbeddedImage]:
        samples = [sample(self.pipeline, r) for r in records]
        batch = self.model.data_preprocessor(pseudo_collate(samples), False)
        levels = self.model.extract_feat(batch["inputs"] if self.maps is None else self._maps(records, batch["inputs"]))
        predicted = self.model.rpn_head.predict(levels, batch["data_samples"], rescale=False)
        metas = [s.metainfo for s in batch["data_samples"]]
        if hasattr(
            self.model.roi_head, "refine"
        ):  # its embedding is read where the objects are, not where they were proposed
            predicted = self.model.roi_head.refine(levels, predicted, metas)

        # Proposals of every image, then its annotated boxes in the pixels that the network sees.
        regions, counts = [], []
        for proposals, meta, record in zip(predicted, metas, records, strict=True):
            scale = torch.as_tensor(meta["scale_factor"], dtype=torch.float32).repeat(2)
            annotated = (torch.as_tensor(record.boxes).float() * scale).to(proposals.bboxes)
            regions.append(torch.cat([proposals.bboxes, annotated]))
            counts.append((len(proposals.bboxes), len(annotated)))

        rois = bbox2roi(regions)  # (sum of P + G, 5)
        by_space, features, box_features = self.embeddings(levels, rois)
        lengths = features.norm(dim=-1)
        deltas = self.head.fc_reg(box_features)

        images, start = [], 0
        for region, proposals, meta, (p, g) in zip(regions, predicted, metas, counts, strict=True):
            mid, end = start + p, start + p + g
            scale = torch.as_tensor(meta["scale_factor"], dtype=torch.float32).repeat(2).to(region)
            images.append(
                EmbeddedImage(
                    boxes=self.head.decode(rois[start:mid], deltas[start:mid], meta, rescale=True).cpu(),
                    proposals=(region[:p] / scale).cpu(),
                    objectness=proposals.scores.cpu(),
                    embeddings=_part(by_space, start, mid),
                    annotated=_part(by_space, mid, end),
                    lengths=lengths[start:mid].cpu(),
                    annotated_lengths=lengths[mid:end].cpu(),
                )
            )
            start = end
        return images

    def _maps(self, records: list[ImageRecord], inputs: Tensor) -> tuple[Tensor, ...]:
        """The backbone's maps of a batch; images whose maps are kept do not pass through it."""
        kept = [self.maps.get(record.path, self.view) for record in records]
        missing = [i for i, levels in enumerate(kept) if levels is None]
        if missing:
            fresh = self.model.backbone(inputs[missing])
            for k, i in enumerate(missing):
                kept[i] = tuple(level[k].half().cpu() for level in fresh)
                self.maps.put(records[i].path, self.view, kept[i])
        return tuple(level.to(inputs.device) for level in pad_levels(list(zip(*kept, strict=True))))

    def embeddings(self, levels: Sequence[Tensor], rois: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Of RoIs (R, 5): their embeddings (R, e) by space, and what the embedding and the boxes are read from."""
        extractor = self.model.roi_head.bbox_roi_extractor
        pooled = extractor(levels[: extractor.num_inputs], rois)
        if self.model.roi_head.with_shared_head:  # the last stage of the backbone, in C4 detectors
            pooled = self.model.roi_head.shared_head(pooled)
        features, box_features = self.head.roi_features(pooled)
        embed = {
            "repmet": lambda: self.head.embed(features),
            "baseline_untrained": lambda: self.untrained.embed(self.untrained.roi_features(pooled)[0]),
            "baseline_roi": lambda: F.normalize(features, dim=-1),
        }
        by_space = {space: embed[space]() for space in self.spaces}
        if getattr(self.head, "embeds_by_features", False) and {"repmet", "baseline_roi"} <= by_space.keys():
            by_space["repmet"] = by_space["baseline_roi"]  # one tensor: they are large
        if hasattr(self.head, "embed_negative"):  # NP-RepMet tells negatives apart in an embedding of their own
            by_space["negative"] = self.head.embed_negative(features)
        return by_space, features, box_features


def _part(by_space: dict[str, Tensor], start: int, end: int) -> dict[str, Tensor]:
    """Rows of the embeddings, those that are the same tensor staying one."""
    rows = {id(v): v[start:end].cpu() for v in by_space.values()}
    return {space: rows[id(v)] for space, v in by_space.items()}


def caching_embedder(detector: Detector, spaces: Sequence[str] = SPACES) -> Embedder:
    """An `Embedder` of a detector that keeps what it finds."""
    maps = kept_maps_of(detector.model) if isinstance(detector.model, FrozenBackboneRCNN) else None
    cache = EmbeddingCache(detector, spaces)
    return Embedder(detector.model, detector.cfg.test_pipeline, spaces=spaces, cache=cache, maps=maps)
