"""What a classification YAML may say beyond mmengine's sections, and how it becomes a data set and a model of its size."""

from collections.abc import Mapping

from mmengine.config import Config
from mmengine.registry import MODELS

from repmet.classification import methods  # noqa: F401  (these register what a YAML names)
from repmet.classification.hooks import features, projector, retrieval, training_set, validation  # noqa: F401
from repmet.classification.inputs import affine, samplers  # noqa: F401
from repmet.classification.inputs.costs import read_costs
from repmet.classification.inputs.features import check_mirrored
from repmet.classification.pml import parts, sampling
from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.sources.registry import read
from repmet.errors import UserError

# The sections that a classification experiment adds to mmengine's. None: any value.
SECTIONS = {
    "data": {
        "source": None,  # a module of `data`, see `data.sources.registry.SOURCES`
        "root": None,  # the folder of its images; `--data` replaces it
        "arguments": None,  # of the source's `read`; `seed: null` is the training's
        "size": None,  # pixels that images are brought to, where they lie in files of any shape
        "train": None,  # names of splits, as the source names them
        "val": None,  # chooses the checkpoint; null: none
        "test": None,  # never seen before `evaluate`
        "cache_features": None,  # true: a frozen encoder runs over every image once, the head trains on what it gave
    },
    "episodes": {  # of validation and test; those of training are `train_dataloader.batch_sampler`
        "way": None,
        "shot": None,  # one number or several; validation takes the first
        "query": None,  # images of a class
        "episodes": None,  # how many of them at the test
        "seed": None,
        "within_groups": None,  # true: the classes of an episode are of one group, as characters of one alphabet
        "views": None,  # of the tested images, {number, and the arguments of AffineJitter}: embeddings are their means
        "one_shot_runs": None,  # true: Lake's 20 runs on Omniglot too, for a network that was trained on lake_train
    },
    "costs": {"tree": None, "numbers": None},  # of mistakes, which `evaluate` measures; see `classification.inputs.costs`
    # What tables of results call data set, method and encoder; the method's own title unless it is given here.
    "report": {"dataset": None, "method": None, "encoder": None},
    "train_pipeline": None,  # batch transforms, see `classification.inputs.transforms`
    "test_pipeline": None,
}
MODEL_SECTIONS: dict = {}
LIBRARIES = {"pml": parts.check}  # types with a library's prefix, and who checks their sections


# Hooks that embed images as the test does.
TESTING_HOOKS = ("ValidationHook", "RetrievalHook", "IndexHook", "ClusteredStartHook", "WarmStartHook")


def arguments_of(cfg: Config) -> dict:
    """The arguments of the source's `read`, with the training's seed for a `seed` that is null."""
    arguments = dict(cfg.data.get("arguments") or {})
    if "seed" in arguments and arguments["seed"] is None:
        arguments["seed"] = (cfg.get("randomness") or {}).get("seed") or 0
    seed = arguments.get("seed", 0)
    if type(seed) is not int or seed < 0:
        raise UserError(f"data.arguments.seed is a whole number from 0, not {seed!r}")
    return arguments


def image_size(cfg: Config) -> int | tuple[int, int] | None:
    """`data.size`: a side in pixels, height and width, or None. Raises ValueError for anything else."""
    size = cfg.data.get("size")
    sides = list(size) if isinstance(size, list | tuple) else [size, size]
    if size is not None and not (len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)):
        raise UserError(f"data.size is a side in pixels, or a list of height and width, not {size!r}")
    return size


def transforms(cfg: Config, pipeline: str) -> list[dict]:
    """The batch transforms of `train_pipeline` or `test_pipeline`. Raises ValueError for what is no list of them."""
    value = cfg.get(pipeline) or []
    if not isinstance(value, list | tuple) or not all(isinstance(section, Mapping) for section in value):
        raise UserError(f"{pipeline} is a list of transforms, such as {{type: ToFloat}}, not {value!r}")
    return list(value)


def read_split(cfg: Config, part: str) -> LabelledImages:
    """The labelled images of `data.train`, `data.val` or `data.test`.

    Raises:
        ValueError: the experiment does not name the split, or it has fewer than two classes.
        FileNotFoundError: the images are not there.
    """
    data = cfg.get("data") or {}
    for key in ("source", part):
        if not data.get(key):
            raise UserError(f"data.{key} is not given: the experiment names a source of images and its splits")
    images = read(data.source, data.get("root"), data[part], **arguments_of(cfg))
    num_classes = int((images.counts > 0).sum())
    if num_classes < 2:
        named = f" ({images.classes[0]!r})" if images.classes else ""
        raise UserError(
            f"data.{part}: {data.source} {data[part]} in {data.get('root')} has {num_classes} class{named}; "
            "there must be two to tell apart"
        )
    return images


def image_set(cfg: Config, part: str, pipeline: str) -> dict:
    """The section that builds `data.train`, `data.val` or `data.test` as an `ImageSet`, or as a `FeatureSet`.

    Raises:
        ValueError: features are to be cached and cannot be; a size or transforms that are none.
    """
    data = cfg.data
    section = {
        "type": "ImageSet",
        "source": data.source,
        "root": data.get("root"),
        "split": data[part],
        "arguments": arguments_of(cfg),
        "size": image_size(cfg),
        "transform": transforms(cfg, pipeline),
    }
    if data.get("cache_features"):
        if not cfg.model.encoder.get("frozen"):
            raise UserError("data.cache_features: the encoder is trained; set model.encoder.frozen or leave it out")
        test = transforms(cfg, "test_pipeline")
        mirrored = check_mirrored(section["transform"], test)
        section |= {"type": "FeatureSet", "transform": test, "mirrored": mirrored}
    return section


def prepare(cfg: Config) -> None:
    """Turns the `data` section into data sets, sizes the model for them, and tells the hooks what to validate on."""
    train = read_split(cfg, "train")
    if cfg.get("costs"):
        read_costs(cfg.costs, train.classes)  # before any time is spent: it may refuse
    loader = cfg.train_dataloader
    loader.dataset = image_set(cfg, "train", "train_pipeline")
    loader.collate_fn = {"type": "as_gathered"}
    sampling.adapt(loader)
    loader.setdefault("sampler", {"type": "DefaultSampler", "shuffle": True})
    if loader.get("batch_sampler"):
        loader.setdefault("batch_size", 1)  # mmengine asks for it; the batch sampler decides
    size_model(cfg, train)
    for hook in cfg.get("custom_hooks") or []:
        if hook.get("type") in TESTING_HOOKS:
            hook.pipeline = list(cfg.get("test_pipeline") or [])
        if hook.get("type") == "ValidationHook":
            if not cfg.data.get("val"):
                raise UserError("data.val is not given: ValidationHook needs a split to validate on")
            hook.closed = read_split(cfg, "val").classes == train.classes
            hook.dataset = image_set(cfg, "val", "test_pipeline")
            hook.protocol = dict(cfg.get("episodes") or {})
        if hook.get("type") == "RetrievalHook":
            if not cfg.data.get("val"):
                raise UserError("data.val is not given: RetrievalHook needs a split to retrieve in")
            hook.dataset = image_set(cfg, "val", "test_pipeline")
    if arguments_of(cfg) != dict(cfg.data.get("arguments") or {}):
        cfg.custom_hooks = [
            *(cfg.get("custom_hooks") or []),
            {"type": "SplitSeedHook", "seed": arguments_of(cfg)["seed"]},
        ]
    if cfg.data.get("cache_features"):
        cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), {"type": "FeatureHook"}]
    cfg.checkpoint_meta = {"method": cfg.model.type, "classes": list(train.classes)}


def size_model(cfg: Config, train: LabelledImages) -> None:
    """Gives the method what follows from its training set and its batches."""
    sampler = (cfg.get("train_dataloader") or {}).get("batch_sampler") or {}
    MODELS.get(cfg.model.type).size(cfg.model, train.labels, train.classes, sampler)
