"""A detector for classes that somebody shows it: learn from marked images, detect, keep what was learnt in a small file.

    detector = FewShotDetector("work_dirs/demo")
    detector.learn({"nut": [("a.jpg", (10, 20, 60, 80))], "washer": [("b.jpg", (5, 5, 40, 40))]})
    for detections in detector.detect("photos"):
        print(detections.image.name, detections.names, detections.scores)

Shapes: N classes, K representatives a class, S support embeddings, P proposals of an image, e embedding dimensions.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from repmet.data.readers.image_inputs import image_inputs
from repmet.detection.base_detections import base_detections
from repmet.detection.checkpoint import SHIPPED, open_detector
from repmet.detection.detecting import DetectsClasses
from repmet.detection.editing import EditsClasses
from repmet.detection.embedding.cache import EmbeddingCache
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.embedding.kept_maps import view_of
from repmet.detection.embedding.recent import RecentEmbeddings
from repmet.detection.embedding.tiled import embedded_in_tiles
from repmet.detection.episodes.marked_images import Marks
from repmet.detection.episodes.marked_records import marked_records
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.examining import ExaminesClasses
from repmet.detection.learning import learn, taught
from repmet.detection.looking import Found, looked_at
from repmet.detection.saved_classes import SavedClasses, read_classes, write_classes
from repmet.detection.scoring.calibration import PLAIN_THRESHOLD
from repmet.detection.scoring.finetune import FinetuneRule
from repmet.detection.scoring.methods import Method, NearestRepresentative, check_methods, spaces_of
from repmet.detection.scoring.representatives import SupportSet, base_representatives
from repmet.detection.scoring.rule import FewShotRule, few_shot_rule
from repmet.detection.scoring.tuning import SECONDS, Tuned, tuned
from repmet.detection.tiles import OFF, check_tile, cut_out, tile_side
from repmet.detection.tuned_weights import TunedWeights
from repmet.errors import UserError
from repmet.model_definitions.weights_digest import weights_digest
from repmet.progress import progress as bar


class FewShotDetector(DetectsClasses, EditsClasses, ExaminesClasses):
    """Detects the classes that it is shown, or before `learn` those that it was trained on.

    What fails changes nothing: after an error, detector and classes are as they were before the call.

    Args:
        checkpoint: a file, or a run folder for its last one; nothing else is needed of the training. None: the weights that
            ship with this package.
        method: how classes are learnt and scored, of `detection.scoring.methods.METHODS`. None: as the experiment says that
            the checkpoint was trained by (`episodes.method`), else `repmet`.
        batch_size: images of one size that go through the network together.
        tile: `auto`, `off`, or a side in pixels: images are looked at in overlapping tiles too, and supports in the tiles
            around them (`detection.tiles`). By `auto` where the objects that were shown are small in an image.
        marks: `complete` where every object of the classes in a support image is marked, `partial` where others may be there
            (`FewShotRule.marks`). None: as the experiment says.
        cache: a folder in which embedded images are kept, to be found again by later runs. None: only the last ones are
            kept, in memory.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: it is no checkpoint of a detector; no such method; a batch_size below 1; no such tile; other marks.
    """

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        *,
        method: str | None = None,
        batch_size: int = 4,
        tile: str | int = OFF,
        marks: str | None = None,
        cache: str | Path | None = None,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size is at least 1, not {batch_size}")
        self.tile = check_tile(tile)
        check_methods([method] if method else [])
        opened = open_detector(checkpoint)
        self.model, self.cfg, self.batch_size = opened.model, opened.cfg, batch_size
        self._marks = marks
        few_shot_rule(self.cfg, marks)  # it may refuse
        self.method = method or (self.cfg.get("episodes") or {}).get("method") or "repmet"
        check_methods([self.method])
        self.checkpoint = Path(SHIPPED if checkpoint is None else checkpoint)
        self.learnt: SavedClasses | None = None
        self._supports: SupportSet | None = None  # of a method that learns all classes together; none after `load`
        self._history = []
        self._tuned = TunedWeights(self.model)
        self._embed: Embedder | None = None
        files = None if cache is None else EmbeddingCache(opened, spaces_of([self.method]), cache)
        self._kept = RecentEmbeddings(files)
        self._digest: str | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """What `detect` looks for; before `learn`, of a detector that tells no classes apart, objects of any."""
        if self.learnt:
            return self.learnt.classes
        return getattr(self.model.roi_head.bbox_head, "CLASSES", None) or tuple(self.cfg.data.base_classes)

    @property
    def thresholds(self) -> dict[str, float]:
        """By class, the score from which on `detect` shows a find, where it is not told another: of calibrated scores the
        one with the best F1 to be expected."""
        values = [PLAIN_THRESHOLD] * len(self.classes) if self.learnt is None else self.learnt.thresholds.tolist()
        return dict(zip(self.classes, values, strict=True))

    @property
    def tile_side(self) -> int | None:
        """Side in pixels of the tiles that large images are cut into (`detection.tiles`); None for no tiles."""
        return self.learnt.tile if self.learnt else None

    @property
    def embedder(self) -> Embedder:
        """Made when it is needed: a plain Faster R-CNN detects its own classes without one."""
        if self._embed is None:  # what is kept fits the weights of the checkpoint alone
            self._embed = self._embedder(None if self.learnt and self.learnt.weights else self._kept)
        return self._embed

    def _embedder(self, kept: RecentEmbeddings | None) -> Embedder:
        spaces = spaces_of([self.method])
        how = {"batch_size": self.batch_size, "spaces": spaces, "cache": kept, "share": False}
        return Embedder(self.model, self.cfg.test_pipeline, **how)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights as the checkpoint brought them."""
        if self._digest is None:
            with self._tuned.as_trained():
                self._digest = weights_digest(self.model)
        return self._digest

    def learn(self, support: str | Path | Marks, *, finetune: FinetuneRule | None = None) -> "FewShotDetector":
        """Takes the classes of a support set in the place of those before; without `finetune` there is no training.

        Args:
            support: what shows the classes, see `detection.episodes.marked_records.marked_records`.
            finetune: train the detector on the support images first, until the next call of `learn` or `load`.

        Raises:
            FileNotFoundError, ValueError, TypeError: there is no such set, or what is wrong with it; the head has no
                embedding; fine-tuning with a method that scores otherwise than RepMet.
            EpisodeDiverged: fine-tuning came to a loss that is not finite.
        """
        if finetune is not None and self.method != "repmet":
            raise UserError(f"fine-tuning trains RepMet's representatives; the method here is {self.method!r}")
        with self._tuned.as_trained():
            records = marked_records(support)
            embedder = self._embedder(None if finetune else self._kept)  # it may refuse
            view = view_of(self.cfg.test_pipeline)
            tile = None if finetune else tile_side(self.tile, records, view and view.size)
            learnt, supports = learn(
                cut_out(records, tile), self._method(few_shot_rule(self.cfg, self._marks)), embedder, finetune
            )
        self._use(replace(learnt, tile=tile), supports)
        return self

    def tune(self, support: str | Path | Marks, *, seconds: float = SECONDS) -> Tuned:
        """Learns from a support set as `learn`, by settings that leaving its images out in turn has chosen
        (`detection.scoring.tuning`). What `add`, `accept` and `reject` change later is fitted by the same settings.

        Args:
            support: as in `learn`.
            seconds: no further setting is tried after so long.

        Returns:
            What was chosen, and the AP50 to expect before and after; these are None, and nothing is chosen, where no image
            can be left out.

        Raises:
            As `learn`; ValueError: a method other than `logistic`.
        """
        if self.method != "logistic":
            raise UserError(f"tuning chooses how `logistic` is fitted; the method here is {self.method!r}")
        self.learn(support)
        supports = self.supports
        result = tuned(supports, self.learnt.scorer.rule, seconds)
        if result.changes:
            self._use(replace(taught(supports, self._method(result.rule)), tile=self.tile_side), supports)
        return result

    def save(self, path: str | Path) -> None:
        """Writes what was learnt: what the method keeps, support embeddings and their pictures, for this checkpoint alone.

        Raises:
            ValueError: nothing was learnt.
        """
        if self.learnt is None:
            raise UserError("there is nothing to save: learn from a support set first")
        write_classes(self.learnt, self.digest, path)

    def load(self, path: str | Path) -> "FewShotDetector":
        """Takes what `save` wrote in the place of a support set.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is no such file, or was made with another checkpoint.
        """
        head = self.model.roi_head.bbox_head
        learnt = read_classes(path, self.digest, self.checkpoint, lambda rule: base_representatives(head, rule))
        if strange := self._tuned.strange(learnt.weights):
            raise UserError(f"{path}: damaged: its weight {strange} is none of this detector's")
        self._use(learnt, None)
        return self

    def embed(self, images: Any, *, progress: bool = True, unreadable: list[str] | None = None) -> int:
        """Looks at images ahead of time, before any class is learnt or while there is nothing else to do: what the network
        makes of them is kept, in `cache` where there is one, and to detect in them is arithmetic from then on.

        Args:
            images, progress, unreadable: as in `detect`.

        Returns:
            How many were looked at.

        Raises:
            As `detect`; ValueError: the head has no embedding.
        """
        inputs = image_inputs(images)
        total = len(inputs) if isinstance(inputs, list) else None

        def look(records: list[OpenImage]) -> list[Any]:
            embedded = self.embedder(records)
            return [embedded[record.id] for record in records]

        looked = looked_at(inputs, self._together(inputs), look, unreadable)
        return sum(1 for _ in bar(looked, "looking", total, show=progress))

    @property
    def _has_learnt(self) -> bool:
        return self.learnt is not None

    def _crops(self) -> np.ndarray | None:
        return self.learnt.crops.numpy() if self.learnt else None

    def _look(self, records: list[OpenImage], least: np.ndarray, unknown: bool) -> list[Found]:
        if self.learnt is None:
            return base_detections(self.model, self.cfg.test_pipeline, records)
        embedded = embedded_in_tiles(records, self.embedder, self.learnt.tile)
        return [self.learnt.detect(embedded[record.id], least, unknown=unknown) for record in records]

    def _method(self, rule: FewShotRule) -> Method:
        return Method(self.method, rule, base_representatives(self.model.roi_head.bbox_head, rule))

    def _use(self, learnt: SavedClasses, supports: SupportSet | None) -> None:
        """From now on these classes, with the weights that belong to them."""
        self._tuned.use(learnt.weights)
        self.learnt, self._embed = learnt, None
        self._supports = None if isinstance(learnt.scorer, NearestRepresentative) else supports
        self._history = []
