"""A detector for classes that somebody shows it: learn from a support set, detect, keep what was learnt in a small file.

    detector = FewShotDetector("work_dirs/demo")
    detector.learn("my_support")
    for path, found in detector.detect(["my_photos"]): ...

Shapes: N classes, K representatives a class, S support boxes, P proposals of an image, e embedding dimensions.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor

from repmet.data.readers.annotated_folder import class_names
from repmet.data.sources.voc import ImageRecord
from repmet.detection.checkpoint import open_detector
from repmet.detection.dataset import batches_of_one_size, to_data_info
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.embedding.views import with_views
from repmet.detection.episodes.episode import plain_boxes
from repmet.detection.episodes.support_set import images_to_look_at, read_support
from repmet.detection.pictures.drawing import support_crop
from repmet.detection.saved_classes import SavedClasses, read_classes, write_classes
from repmet.detection.scoring.finetune import FinetuneRule, adapted, trained_parameters
from repmet.detection.scoring.methods import NearestRepresentative
from repmet.detection.scoring.representatives import SupportSet, base_representatives
from repmet.detection.scoring.rule import FewShotRule, few_shot_rule
from repmet.detection.scoring.suppression import after_nms
from repmet.model_definitions.representatives import squared_distances
from repmet.model_definitions.weights_digest import weights_digest

SPACE = "repmet"


@dataclass(frozen=True)
class Found:
    """What was found in one image, best first.

    Attributes:
        labels: (n,) class numbers.
        scores: (n,) in (0, 1].
        boxes: (n, 4), x1, y1, x2, y2 in pixels from 0.
        nearest: (n,) the number of the support box that is nearest in the embedding; -1 where none was shown.
    """

    labels: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    nearest: np.ndarray


class FewShotDetector:
    """Detects the classes of a support set, or before `learn` those that it was trained on.

    Args:
        checkpoint: a file, or a run folder for its last one; nothing else is needed of the training.
        batch_size: images of one size that go through the network together.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: it is no checkpoint of a detector.
    """

    def __init__(self, checkpoint: str | Path, *, batch_size: int = 4) -> None:
        opened = open_detector(checkpoint)
        self.model, self.cfg, self.batch_size = opened.model, opened.cfg, batch_size
        self.checkpoint = Path(checkpoint)
        self.learnt: SavedClasses | None = None
        self._embed: Embedder | None = None
        self._adaptation = contextlib.ExitStack()  # undoes the fine-tuning

    @property
    def classes(self) -> tuple[str, ...]:
        return self.learnt.classes if self.learnt else tuple(self.cfg.data.base_classes)

    @property
    def embedder(self) -> Embedder:
        """Made when it is needed: a plain Faster R-CNN detects its own classes without one."""
        if self._embed is None:
            self._embed = Embedder(self.model, self.cfg.test_pipeline, batch_size=self.batch_size, spaces=(SPACE,))
        return self._embed

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights as the checkpoint brought them."""
        return weights_digest(self.model)

    def learn(self, support: str | Path, *, finetune: FinetuneRule | None = None) -> None:
        """Takes the classes of a support set in the place of those before; without `finetune` there is no training.

        Args:
            support: annotated images or crops, see `detection.episodes.support_set.read_support`.
            finetune: train the detector on the support images first, until the next call of `learn` or `load`.

        Raises:
            FileNotFoundError, ValueError: there is no such set, or what is wrong with it; or the head has no embedding.
            EpisodeDiverged: fine-tuning came to a loss that is not finite; the detector is as it was.
        """
        _ = self.embedder  # it may refuse
        self._forget()
        _ = self.digest  # of the weights before any training
        rule = few_shot_rule(self.cfg)
        base = base_representatives(self.model.roi_head.bbox_head, rule)  # before fine-tuning puts others there
        with tempfile.TemporaryDirectory() as scratch:
            supports = self._embedded(read_support(support, scratch), rule)
            points = supports.representatives(rule, SPACE)
            if finetune is not None:
                tuned = adapted(self.model, self.cfg.test_pipeline, supports, points, finetune)
                points = self._adaptation.enter_context(tuned)
                supports = self._embedded(list(supports.records.values()), rule)
            by_class = supports.embeddings(rule, SPACE)
            counted = [
                (supports.records[i], box, len(found))
                for pairs, embeddings in zip(supports.boxes, by_class, strict=True)
                for (i, box), found in zip(pairs, embeddings, strict=True)
            ]
            crops = [np.asarray(support_crop(r.path, r.boxes[box])) for r, box, n in counted for _ in range(n)]
        flat = [torch.cat(embeddings) for embeddings in by_class]
        self.learnt = SavedClasses(
            classes=supports.classes,
            scorer=NearestRepresentative(rule=rule, representatives=points, space=SPACE, base=base),
            embeddings=torch.cat(flat),
            labels=torch.cat([torch.full((len(v),), c) for c, v in enumerate(flat)]),
            crops=torch.from_numpy(np.stack(crops)),
            weights=self._changed(finetune.train) if finetune is not None else {},
        )

    def detect(self, images: Sequence[str | Path] | str | Path, *, min_score: float = 0.05) -> Iterator[tuple[Path, Found]]:
        """Looks at files and folders of images, one after the other.

        Args:
            images: files, and folders of which all images are taken.
            min_score: detections below are left out; in [0, 1].

        Yields:
            The path and what was found in it, in the order of the images within each size.

        Raises:
            FileNotFoundError, ValueError: before anything is looked at: a path that is not there or no image.
        """
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score is in [0, 1], not {min_score}")
        return self.look_at(images_to_look_at(images), min_score=min_score)

    def look_at(self, records: Sequence[ImageRecord], *, min_score: float = 0.05) -> Iterator[tuple[Path, Found]]:
        """`detect` for images that were read before."""
        look = self._by_supports if self.learnt else self._by_training
        for batch in batches_of_one_size(records, self.batch_size):
            chosen = [records[i] for i in batch]
            for record, found in zip(chosen, look(chosen), strict=True):
                order = np.argsort(-found.scores, kind="stable")
                order = order[found.scores[order] >= min_score]
                yield record.path, Found(*(getattr(found, f.name)[order] for f in fields(Found)))

    def save(self, path: str | Path) -> None:
        """Writes what was learnt: representatives, support embeddings and their pictures, for this checkpoint alone.

        Raises:
            ValueError: nothing was learnt.
        """
        if self.learnt is None:
            raise ValueError("there is nothing to save: learn from a support set first")
        write_classes(self.learnt, self.digest, path)

    def load(self, path: str | Path) -> None:
        """Takes what `save` wrote in the place of a support set.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is no such file, or was made with another checkpoint.
        """
        self._forget()
        head = self.model.roi_head.bbox_head
        self.learnt = read_classes(path, self.digest, self.checkpoint, lambda rule: base_representatives(head, rule))
        if self.learnt.weights:
            before = {name: value.clone() for name, value in self.model.state_dict().items()}
            self._adaptation.callback(self.model.load_state_dict, before)
            self.model.load_state_dict(before | self.learnt.weights)

    def _forget(self) -> None:
        """The detector as the checkpoint brought it."""
        self._adaptation.close()
        self.learnt = None

    def _embedded(self, records: Sequence[ImageRecord], rule: FewShotRule) -> SupportSet:
        """Every plain box of the records as a support."""
        names = [n for n in class_names(records) if any(plain_boxes(r, n) for r in records)]
        boxes = [[(r.id, box) for r in records for box in plain_boxes(r, name)] for name in names]
        embedded = with_views(self.embedder(records), records, self.embedder, rule.support_views)
        return SupportSet(tuple(names), boxes, {r.id: r for r in records}, embedded)

    def _changed(self, part: str) -> dict[str, Tensor]:
        """The weights that fine-tuning this part of the detector trains, but for the representatives."""
        trained = {id(p) for p in trained_parameters(self.model, part)}
        changed = {name: p for name, p in self.model.named_parameters() if id(p) in trained}
        return {name: p.detach().clone().cpu() for name, p in changed.items() if "bbox_head.representatives" not in name}

    def _by_supports(self, records: Sequence[ImageRecord]) -> list[Found]:
        learnt = self.learnt
        embedded = self.embedder(records)
        results = []
        for record in records:
            image = embedded[record.id]
            ((seen, proposals),) = after_nms([image], learnt.scorer.scores(image), learnt.scorer.rule)
            labels = torch.from_numpy(seen.labels)
            d2 = squared_distances(image.embeddings[SPACE][proposals], learnt.embeddings[:, None])[..., 0]  # (n, S)
            of_its_class = learnt.labels[None] == labels[:, None]
            nearest = d2.masked_fill(~of_its_class, torch.inf).argmin(1) if len(d2) else labels
            results.append(Found(seen.labels, seen.scores, seen.boxes, nearest.numpy()))
        return results

    @torch.inference_mode()
    def _by_training(self, records: Sequence[ImageRecord]) -> list[Found]:
        with DefaultScope.overwrite_default_scope("mmdet"):
            pipeline = Compose(self.cfg.test_pipeline)
        samples = self.model.test_step(pseudo_collate([pipeline(to_data_info(r, ())) for r in records]))
        found = [s.pred_instances.cpu().numpy() for s in samples]
        return [Found(p.labels, p.scores, p.bboxes, np.full(len(p.labels), -1)) for p in found]
