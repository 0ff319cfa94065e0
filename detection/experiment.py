"""What a detection YAML may say beyond mmengine's sections, and how it becomes a data set and a model of the right size."""

from pathlib import Path

from mmengine.config import Config

import detection.dataset
import detection.modules  # noqa: F401  (registers the modules that a YAML names)
from data.voc import read_class_list

_NMS = {"type": None, "iou_threshold": None, "max_num": None, "class_agnostic": None, "split_thr": None}
_ASSIGN_AND_SAMPLE = {"assigner": None, "sampler": None, "pos_weight": None, "debug": None}
_PROPOSALS = {"nms_pre": None, "max_per_img": None, "nms": _NMS, "min_bbox_size": None}

# The sections that a detection experiment adds to mmengine's. None: any value.
SECTIONS = {
    "data": {
        "root": None,  # a folder with JPEGImages, Annotations, ImageSets; `--data` replaces it
        "glyph_scenes": None,  # arguments of `data.glyph_scenes.lay_out`: makes the folder where it is missing
        "train": None,  # image list of the base training
        "base_test": None,  # image list for the mAP on base classes; null: none
        "support": None,  # image list that episodes draw their supports from
        "query": None,  # image list that episodes draw their queries from
        "base_classes": None,  # names, or a file with one name a line
        "novel_classes": None,
    },
    "episodes": {
        "way": None,
        "shot": None,  # one number or several
        "query": None,  # query images per class
        "episodes": None,
        "seed": None,
        "support_iou": None,  # proposals of at least this IoU stand for a support box
        "support_rois": None,  # at most this many of them a box
        "modes": None,  # representatives of a class at most; 1: the mean of its supports; null: max(5, 2 x shot)
        "nms": None,  # IoU of the per-class NMS
        "dummy_columns": None,  # columns that match nothing in the softmax (the released code keeps its base classes so)
        "objectness": None,  # multiply scores by the proposals' objectness
    },
    "train_pipeline": None,
    "test_pipeline": None,
}

# The keys below model.train_cfg and model.test_cfg, which mmdet reads and never checks.
MODEL_SECTIONS = {
    "train_cfg": {
        "rpn": _ASSIGN_AND_SAMPLE | {"allowed_border": None},
        "rpn_proposal": _PROPOSALS,
        "rcnn": _ASSIGN_AND_SAMPLE,
    },
    "test_cfg": {
        "rpn": _PROPOSALS,
        "rcnn": {"score_thr": None, "nms": _NMS, "max_per_img": None},
    },
}


def prepare_data(cfg: Config) -> None:
    """Makes sure that the data are there and replaces class files by their names, so that a checkpoint knows them.

    Raises:
        ValueError: a section is missing, or a class is both base and novel.
        FileNotFoundError: the folder is not there and nothing says how to make it.
    """
    if "data" not in cfg:
        raise ValueError("the experiment has no `data` section: it names the root folder, the image lists and the classes")
    root = Path(cfg.data.root)
    if cfg.data.get("glyph_scenes") is not None:
        from data.glyph_scenes import lay_out

        lay_out(root, **cfg.data.glyph_scenes)
    elif not root.is_dir():
        raise FileNotFoundError(
            f"data.root: {root} is not there. Name a folder in VOC layout by `--data DIR` "
            "(Pascal VOC itself: python -m data.voc --years 2007 --root data)"
        )
    for key in ("base_classes", "novel_classes"):
        cfg.data[key] = list(read_class_list(cfg.data.get(key) or [], root))
    both = set(cfg.data.base_classes) & set(cfg.data.novel_classes)
    if both:
        raise ValueError(f"classes both in data.base_classes and in data.novel_classes: {sorted(both)}")


def prepare(cfg: Config) -> None:
    """Turns the `data` section into the training data set and sizes the model for the base classes."""
    prepare_data(cfg)
    base = cfg.data.base_classes
    if not base:
        raise ValueError("data.base_classes is empty: it names the classes to train on")
    cfg.train_dataloader.dataset = {
        "type": "DevkitDataset",
        "root": cfg.data.root,
        "image_set": cfg.data.train,
        "classes": base,
        "drop": cfg.data.novel_classes,
        "pipeline": cfg.train_pipeline,
    }
    size_model(cfg)
    cfg.checkpoint_meta = {"base_classes": base}


def size_model(cfg: Config) -> None:
    """Gives the box head as many classes as the experiment trains."""
    cfg.model.roi_head.bbox_head.num_classes = len(cfg.data.base_classes)
