"""What a detection YAML may say beyond mmengine's sections, and how it becomes a data set and a model of the right size."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

import repmet.detection.dataset
import repmet.detection.kept_maps_dataset
import repmet.detection.modules  # noqa: F401  (registers the modules that a YAML names)
from repmet.data.readers.annotated_folder import class_names, list_names, names_lists, read_images
from repmet.data.sources.voc import read_class_list
from repmet.detection.image_sets import read_sets
from repmet.errors import UserError

_NMS = {"type": None, "iou_threshold": None, "max_num": None, "class_agnostic": None, "split_thr": None}
_ASSIGN_AND_SAMPLE = {"assigner": None, "sampler": None, "pos_weight": None, "debug": None}
_PROPOSALS = {"nms_pre": None, "max_per_img": None, "nms": _NMS, "min_bbox_size": None}

# The sections that a detection experiment adds to mmengine's. None: any value.
SECTIONS = {
    "data": {  # with `features: cached` also a list of sets, see `detection.image_sets`
        "root": None,  # a devkit (JPEGImages, Annotations, ImageSets) or any annotated folder; `--data` replaces it
        "glyph_scenes": None,  # arguments of `data.generated.glyph_scenes.lay_out`: makes the folder where it is missing
        "train": None,  # image list of the base training
        "base_test": None,  # image list for the mAP on base classes; null: none
        "support": None,  # image list that episodes draw their supports from
        "query": None,  # image list that episodes draw their queries from
        "base_classes": None,  # names, or a file with one name a line
        "novel_classes": None,
        "novel_images": None,  # of the base training, those with a novel object: `drop` (null), or `ignore` the objects
        "sets": None,  # with `features: cached`: further sets, of which everything but their objects' places is left unused
        **dict.fromkeys(("name", "lists", "classes", "without", "drop", "limit", "unmarked")),  # of one set of many
        "held_out": None,  # of a folder without lists: the novel classes, or how many of them; `--novel` sets it
    },
    "episodes": {
        "way": None,
        "shot": None,  # one number or several
        "query": None,  # query images per class
        "episodes": None,
        "seed": None,
        "support_iou": None,  # embed a support box by the proposals of at least this IoU; null: by the box itself
        "support_rois": None,  # at most this many of them a box
        "support_views": None,  # 1; 2: embed a support box in the mirror image too; 8: in all quarter turns as well
        "support_scales": None,  # in these times the images' size too, such as [0.5, 1, 1.7]; each in every view
        "modes": None,  # representatives of a class at most; 1: the mean of its supports; null: max(5, 2 x shot)
        "nms": None,  # IoU of the per-class NMS
        "dummy_columns": None,  # columns that match nothing in the softmax (the released code keeps its base classes so)
        "base_columns": None,  # true: the classes of the base training compete too, by their trained representatives
        "objectness": None,  # multiply scores by this power of the proposals' objectness; true: 1
        "methods": None,  # of `detection.scoring.methods.SCORED`, compared on the same episodes; null: the first three
        "negative_iou": None,  # [low, high]: overlap of np_repmet's negatives with their support box
        "negative_weight": None,  # how much nearness to a negative counts
        "calibration": None,  # share of the cosine in `calibrated`
        "cosine_scale": None,  # of tfa_cosine
        "classifier_decay": None,  # weight decay of baseline_ft and tfa_cosine
        "logistic_decay": None,  # weight decay of logistic
        "score_prior": None,  # rows (marks, slope, offset, F1): how scores become probabilities; null: they stay
        "box_refinement": None,  # of logistic: weight decay of the regression that moves boxes to the marks; null: none
        "marks": None,  # of logistic: complete, where all objects of the classes are marked; else partial
        "method": None,  # how `FewShotDetector` scores; null: repmet
    },
    "finetune": {  # per-episode fine-tuning (`--finetune`), see `detection.scoring.finetune.FinetuneRule`
        "train": None,  # embedding, head or all
        "epochs": None,
        "lr": None,
        "momentum": None,
        "weight_decay": None,
        "batch_size": None,
        "seed": None,
    },
    "features": None,  # `cached`: train on the kept maps of a frozen backbone, on the sets that `data` lists
    "views": {"sizes": None, "mirror": None},  # of each image: squares that it is scaled to fit in; mirrored too
    "feature_cache": {"gigabytes": None},  # the most that is kept on disk
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


def prepare_data(cfg: Config, trained_on: Sequence[str] | None = None) -> None:
    """Makes sure that the data are there and replaces class files by their names, so that a checkpoint knows them.

    A folder that is no devkit brings its own lists and classes: see `own_folder`.

    Args:
        cfg: the experiment; its `data` section is filled in.
        trained_on: the base classes of the detector that will look at the data, where there is one.

    Raises:
        ValueError: a section is missing, a class is both base and novel, or `novel_images` says neither.
        FileNotFoundError: the folder is not there and nothing says how to make it.
    """
    if "data" not in cfg:
        raise UserError("the experiment has no `data` section: it names the root folder, the image lists and the classes")
    if cfg.data.get("novel_images") not in (None, "drop", "ignore"):
        raise UserError(f"data.novel_images is `drop` or `ignore`, not {cfg.data.novel_images!r}")
    if not isinstance(cfg.data.root, str):
        raise UserError(f"data.root is the name of a folder, not {cfg.data.root!r}: put quotation marks around it")
    root = Path(cfg.data.root)
    if root.exists() and not names_lists(root, cfg.data.get("train")):
        own_folder(cfg.data, trained_on)
        return
    if cfg.data.get("held_out") is not None and root.exists():
        raise UserError(
            f"{root} brings its own image lists, and data.held_out (--novel) is for folders without: name the classes by "
            "data.base_classes and data.novel_classes"
        )
    if cfg.data.get("glyph_scenes") is not None:
        from repmet.data.generated.glyph_scenes import MANIFEST, lay_out

        if not root.is_dir() or (root / MANIFEST).is_file():  # else `--data` names another set
            lay_out(root, **cfg.data.glyph_scenes)
    elif not root.is_dir():
        raise FileNotFoundError(
            f"data.root: {root} is not there. Name a folder of annotated images by `--data DIR` "
            "(Pascal VOC itself: python -m data.sources.voc --years 2007 --root data)"
        )
    for key in ("base_classes", "novel_classes"):
        cfg.data[key] = list(read_class_list(cfg.data.get(key) or [], root))
    both = set(cfg.data.base_classes) & set(cfg.data.novel_classes)
    if both:
        raise UserError(f"classes both in data.base_classes and in data.novel_classes: {sorted(both)}")


def own_folder(data: dict, trained_on: Sequence[str] | None = None) -> None:
    """Fills a `data` section for annotated images that name no lists (`data.readers.annotated_folder`), in place.

    Novel are the classes that `data.held_out` names or counts, else those of a `classes_novel.txt` in the folder, else none;
    for a detector that was trained before, else all that it was not trained on. Base are the others of the training images.

    Raises:
        ValueError: a class to hold out is not there, or as many are not.
        FileNotFoundError: nothing annotated is there.
    """
    root = Path(data["root"])
    data.update(list_names(root))
    there = set(class_names(read_images(root, data["support"]))) & set(class_names(read_images(root, data["query"])))
    wanted, file = data.get("held_out"), root / "classes_novel.txt"
    if isinstance(wanted, str) and wanted.isdigit():
        wanted = int(wanted)
    if (isinstance(wanted, list | tuple) and not all(isinstance(name, str) for name in wanted)) or isinstance(wanted, bool):
        raise UserError(f"data.held_out is names or a number, not {wanted!r}: put quotation marks around YAML's yes and no")
    if isinstance(wanted, int):
        free = sorted(there - set(trained_on or ()), key=lambda name: hashlib.sha256(name.encode()).digest())
        if not 0 <= wanted <= len(free):
            raise UserError(f"{root}: {wanted} classes to hold out, but {len(free)} are there: {', '.join(sorted(free))}")
        novel = sorted(free[:wanted])
    elif wanted is not None:
        names = [name.strip() for name in wanted.split(",")] if isinstance(wanted, str) else wanted
        novel = list(read_class_list(names))
    elif file.is_file():
        novel = list(read_class_list(file))
    else:
        novel = sorted(there - set(trained_on)) if trained_on is not None else []
    if absent := sorted(set(novel) - there):
        raise UserError(
            f"{root}: no annotation has {', '.join(map(repr, absent))}; classes there: {', '.join(sorted(there))}"
        )
    if trained_on is None:
        kept = [r for r in read_images(root, data["train"]) if not set(novel) & set(r.names)]
        base = class_names(kept)
        if not base:
            raise UserError(f"{root}: all classes are held out, and none is left to train on: {', '.join(sorted(there))}")
    else:
        base = list(trained_on)
        if both := sorted(set(base) & set(novel)):
            raise UserError(f"{root}: the detector was trained on {', '.join(both)}: they are not novel to it")
        if not set(base) & set(class_names(read_images(root, data["base_test"]))):
            data["base_test"] = None
    data["base_classes"], data["novel_classes"] = base, novel


def prepare(cfg: Config) -> None:
    """Turns the `data` section into the training data set and sizes the model for the base classes."""
    if cfg.get("features") is not None:
        prepare_cached(cfg)
        return
    prepare_data(cfg)
    base = cfg.data.base_classes
    if not base:
        raise UserError("data.base_classes is empty: it names the classes to train on")
    cfg.train_dataloader.dataset = {
        "type": "DevkitDataset",
        "root": cfg.data.root,
        "image_set": cfg.data.train,
        "classes": base,
        "drop": [] if cfg.data.get("novel_images") == "ignore" else cfg.data.novel_classes,
        "pipeline": cfg.train_pipeline,
    }
    size_model(cfg)
    cfg.checkpoint_meta = {"base_classes": base}


def prepare_cached(cfg: Config) -> None:
    """Turns sets of images into a data set of kept maps, and sizes the head for the label spaces of all.

    Raises:
        ValueError: `features` is something else than `cached`, or `data` names no sets; from `read_sets`.
    """
    if cfg.features != "cached":
        raise UserError(f"features is `cached` or left out, not {cfg.features!r}")
    sets = cfg.get("data") if isinstance(cfg.get("data"), list) else base_sets(cfg)
    views = cfg.get("views") or {}
    mirrored = (False, True) if views.get("mirror", True) else (False,)
    cfg.train_dataloader.dataset = {
        "type": "KeptMapsDataset",
        "sets": list(sets),
        "views": [[size, mirror] for size in views.get("sizes") or [384] for mirror in mirrored],
        "gigabytes": (cfg.get("feature_cache") or {}).get("gigabytes", 20.0),
    }
    cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), {"type": "FillMapsHook"}]
    labels = [name for image_set in read_sets(sets) for name in image_set.labels()]
    cfg.model.roi_head.bbox_head.num_classes = len(labels)
    cfg.checkpoint_meta = {"base_classes": labels if sets is cfg.data else cfg.data.base_classes}


def base_sets(cfg: Config) -> list[dict]:
    """The base training of a folder with novel classes, as a set of images, and the further sets of `data.sets`.

    Raises:
        ValueError: `data` names no folder, or no base classes; from `prepare_data`.
    """
    if not isinstance((cfg.get("data") or {}).get("train"), str):
        raise UserError(
            "features: cached trains on a list of sets: data: [{root: FOLDER, lists: [train]}, ...]; or on a folder whose "
            "data.train names an image list and data.base_classes its classes"
        )
    prepare_data(cfg)
    if not cfg.data.base_classes:
        raise UserError("data.base_classes is empty: it names the classes to train on")
    drop = [] if cfg.data.get("novel_images") == "ignore" else cfg.data.novel_classes
    folder = {"root": cfg.data.root, "lists": [cfg.data.train], "classes": cfg.data.base_classes, "drop": drop}
    return [{"name": "base", **folder}, *(cfg.data.get("sets") or [])]


def size_model(cfg: Config) -> None:
    """Gives the box head as many classes as the experiment trains."""
    cfg.model.roi_head.bbox_head.num_classes = len(cfg.data.base_classes)
