"""mAP of the trained detector on the classes that it was trained on, through mmdet's own prediction."""

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.dataset import pseudo_collate
from mmengine.dist import all_gather_object
from mmengine.registry import DefaultScope

from repmet.detection.checkpoint import Detector
from repmet.detection.dataset import DevkitDataset, batches_of_one_size
from repmet.detection.metrics import base_metrics
from repmet.experiments.running.processes import my_share


def base_class_map(detector: Detector, *, batch_size: int = 8) -> dict | None:
    """`voc07` and `voc` at IoU 0.5 and `coco`, over every image of `data.base_test`; None where none is named.

    Objects of other classes are neither asked for nor ignored, as in Pascal VOC: what is found there is wrong.
    """
    data = detector.cfg.data
    if not data.get("base_test"):
        return None
    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset: DevkitDataset = DATASETS.build(
            {
                "type": "DevkitDataset",
                "root": data.root,
                "image_set": data.base_test,
                "classes": data.base_classes,
                "pipeline": detector.cfg.test_pipeline,
                "test_mode": True,
            }
        )
    label = {name: i for i, name in enumerate(data.base_classes)}
    detections, truth = {}, {}  # by image: several processes share the images
    for images in my_share(list(batches_of_one_size(dataset.records, batch_size))):
        with torch.inference_mode():
            samples = detector.model.test_step(pseudo_collate([dataset[i] for i in images]))
        for i, sample in zip(images, samples, strict=True):
            p = sample.pred_instances.cpu()
            detections[i] = np.column_stack([np.full(len(p), i), p.labels, p.scores, p.bboxes])
            record = dataset.records[i]
            truth[i] = [
                [i, label[name], *box, difficult]
                for name, box, difficult in zip(record.names, record.boxes, record.difficult, strict=True)
                if name in label
            ]
    for other_detections, other_truth in all_gather_object((detections, truth)):
        detections |= other_detections
        truth |= other_truth
    boxes = [box for i in sorted(truth) for box in truth[i]]
    metrics = base_metrics(np.concatenate([detections[i] for i in sorted(detections)]), np.array(boxes), len(label))
    return {name: metrics[name] for name in ("voc07", "voc", "coco")}
