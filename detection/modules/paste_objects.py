"""Objects of other images pasted into an image: more objects to learn from in each pass of the network."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes

from repmet.detection.modules.load_image import bgr
from repmet.errors import UserError

TRIES = 20  # places for one object before it is left out
MARGIN = 0.25  # of a box's sides, around it, that are pasted with it


@TRANSFORMS.register_module()
class PasteObjects(BaseTransform):
    """Copy-paste by boxes (Ghiasi et al. 2021 paste by masks), after the image and its annotations are loaded.

    One object alone costs a detector the whole image, most of which is background. The objects come from images that are
    drawn anew from the same data set (`DevkitDataset` hands itself on as `results["dataset"]`), so nothing is kept from
    step to step, and a resumed training draws what it would have drawn.

    Args:
        images: so many other images give their objects; ignored ones are left out.
        scale: range of the factor by which a pasted object is scaled, drawn evenly in its logarithm.
        overlap: an object is put where it shares at most this part of the smaller box with any other; if `TRIES` places are
            not free enough, it is left out.
        ink: the objects are dark on light paper: what is pasted is how much darker they are than the paper around them. Off,
            the pixels of the box are, blended with the ground over a quarter of the box's sides around it, so that no
            edge tells a pasted object from another. What of the crop lies in the box of another object, of whatever class,
            is not pasted: it would come without its label. An object that shares more than `overlap` with another in its
            own image is left out.

    Raises:
        ValueError: a range or a number that cannot be; in use, an image that cannot be read.
    """

    def __init__(
        self, images: int = 1, scale: tuple[float, float] = (0.8, 1.25), overlap: float = 0.15, ink: bool = False
    ) -> None:
        if images < 1 or not 0 < scale[0] <= scale[1] or not 0 <= overlap <= 1:
            raise UserError(
                "PasteObjects takes images >= 1, a rising scale above 0 and an overlap in [0, 1], "
                f"not {images}, {tuple(scale)} and {overlap}"
            )
        self.images, self.scale, self.overlap, self.ink = images, tuple(scale), overlap, ink

    def transform(self, results: dict) -> dict:
        image = results["img"]  # (H, W, 3), pasted into
        boxes = results["gt_bboxes"].numpy().astype(float)
        labels = list(results["gt_bboxes_labels"])
        dataset = results["dataset"]
        for _ in range(self.images):
            other = dataset.get_data_info(np.random.randint(len(dataset)))
            pixels = bgr(other["img_path"])
            around = np.array([instance["bbox"] for instance in other["instances"]], float).reshape(-1, 4)
            for number, instance in enumerate(other["instances"]):
                neighbours = np.delete(around, number, 0)
                neighbours = neighbours[(neighbours[:, 2:] > neighbours[:, :2]).all(1)]
                if instance["ignore_flag"] or (not self.ink and self._hidden(around[number], neighbours)):
                    continue
                crop, inside, strange = self._crop(pixels, around[number], neighbours)
                place = self._place(image.shape[:2], crop.shape[:2], boxes)
                if place is None:
                    continue
                x, y = place
                self._paste(image[y : y + crop.shape[0], x : x + crop.shape[1]], crop, inside, strange)
                boxes = np.concatenate([boxes, [inside + np.tile(place, 2)]])
                labels.append(instance["bbox_label"])
        ignored = results["gt_ignore_flags"]
        results["gt_bboxes"] = HorizontalBoxes(boxes.astype(np.float32))
        results["gt_bboxes_labels"] = np.array(labels, dtype=np.int64)
        results["gt_ignore_flags"] = np.concatenate([ignored, np.zeros(len(labels) - len(ignored), ignored.dtype)])
        return results

    def _hidden(self, box: np.ndarray, neighbours: np.ndarray) -> bool:
        """Whether a box shares more than it may with one of the others of its image (n, 4): it is not one object alone."""
        shared = (np.minimum(box[2:], neighbours[:, 2:]) - np.maximum(box[:2], neighbours[:, :2])).clip(0).prod(1)
        areas = (neighbours[:, 2:] - neighbours[:, :2]).prod(1)
        return bool((shared > self.overlap * np.minimum(areas, (box[2:] - box[:2]).prod())).any())

    def _crop(
        self, pixels: np.ndarray, box: np.ndarray, neighbours: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """An object with its surroundings, scaled (h, w, 3), its box x1, y1, x2, y2 in there, and the other boxes there."""
        size = np.tile(pixels.shape[1::-1], 2)
        around = 0 if self.ink else MARGIN * np.tile(box[2:] - box[:2], 2) * (-1, -1, 1, 1)
        # a box thinner than a pixel, at the right or the bottom, has the last one
        x1, y1, x2, y2 = outer = (box + around).round().clip(0, size - (1, 1, 0, 0)).astype(int)
        factor = np.exp(np.random.uniform(*np.log(self.scale)))
        width, height = (max(1, round(side * factor)) for side in (x2 - x1, y2 - y1))
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        crop = cv2.resize(pixels[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)], (width, height), interpolation=how)
        scale = np.array([width, height, width, height]) / np.tile((outer[2:] - outer[:2]).clip(1), 2)
        return crop, *((b - np.tile(outer[:2], 2)) * scale for b in (box, neighbours))

    def _place(self, image: tuple[int, int], crop: tuple[int, int], boxes: np.ndarray) -> tuple[int, int] | None:
        """A corner x, y for a crop (h, w) in an image (H, W), or None where it fits nowhere among the boxes (n, 4)."""
        (rows, columns), (height, width) = image, crop
        if height > rows or width > columns:
            return None
        corners = np.random.randint((columns - width + 1, rows - height + 1), size=(TRIES, 1, 2))
        ends = np.minimum(boxes[:, 2:], corners + np.array([width, height]))
        shared = (ends - np.maximum(boxes[:, :2], corners)).clip(0).prod(-1)  # (TRIES, n)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        free = (shared <= self.overlap * np.minimum(areas, width * height).clip(1)).all(1)
        return tuple(corners[free.argmax(), 0].tolist()) if free.any() else None

    def _paste(self, window: np.ndarray, crop: np.ndarray, inside: np.ndarray, strange: np.ndarray) -> None:
        """Puts a crop (h, w, 3) over a window of the image, in place, but for the boxes (n, 4) of other objects in it."""
        if self.ink:
            some = crop.reshape(-1, 3)[::4]
            paper = np.partition(some, len(some) * 4 // 5, axis=0)[len(some) * 4 // 5]
            light = crop * (1 / np.maximum(paper, 1)).astype(np.float32)  # (h, w, 3)
            light[light.min(2) > 0.85] = 1  # no ink: the paper's grain stays where it was
            window[:] = window * np.minimum(light, 1) + 0.5
            return
        height, width = crop.shape[:2]
        rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
        share = np.minimum(_ramp(rows, inside[1], inside[3], height)[:, None], _ramp(columns, inside[0], inside[2], width))
        for x1, y1, x2, y2 in strange:  # a pixel more on each side: scaling mixes neighbours
            across = slice(max(0, int(np.floor(x1)) - 1), max(0, int(np.ceil(x2)) + 1))
            share[max(0, int(np.floor(y1)) - 1) : max(0, int(np.ceil(y2)) + 1), across] = 0
        window[:] = np.round(window + share[..., None] * (crop.astype(float) - window))


def _ramp(at: np.ndarray, start: float, end: float, size: int) -> np.ndarray:
    """1 between start and end, falling evenly to 0 at the borders 0 and size."""
    return np.interp(at, [0, max(start, 1e-6), max(end, start), max(size, end) + 1e-6], [0, 1, 1, 0])
