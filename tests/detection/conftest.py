"""Small detectors, images for them, runs and devkits made by hand: what the tests of detection share."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from repmet.data.sources.voc import read_image_set


@pytest.fixture(scope="session")
def build_detector() -> Callable[..., nn.Module]:
    """`small_detector.small_detector`."""
    from small_detector import small_detector  # not at the top: the metrics' tests live here too, and need no mmdet

    return small_detector


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., dict]:
    """Random images with boxes, as the arguments of the detector's `loss` and `predict`."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    def batch(
        model: nn.Module,
        objects: Sequence[Sequence[tuple[int, Sequence[float]]]],
        *,
        ignored: Sequence[Sequence[Sequence[float]]] = (),
        sizes: Sequence[tuple[int, int]] = (),
        scale: tuple[float, float] = (1.0, 1.0),
        seed: int = 0,
    ) -> dict:
        """An image for every list of (label, box); `sizes` are (height, width), `scale` is that of x and y."""
        generator = torch.Generator().manual_seed(seed)
        inputs, samples = [], []
        for k, of_image in enumerate(objects):
            height, width = sizes[k] if sizes else (96, 128)
            inputs.append(torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8))
            sample = DetDataSample(
                metainfo={
                    "img_id": k,
                    "img_shape": (height, width),
                    "ori_shape": (round(height / scale[1]), round(width / scale[0])),
                    "scale_factor": scale,
                    "flip": False,
                    "flip_direction": None,
                }
            )
            labels = torch.tensor([label for label, _ in of_image], dtype=torch.long)
            boxes = torch.tensor([box for _, box in of_image], dtype=torch.float32).reshape(-1, 4)
            sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
            away = torch.tensor(ignored[k] if ignored else [], dtype=torch.float32).reshape(-1, 4)
            sample.ignored_instances = InstanceData(bboxes=away, labels=torch.zeros(len(away), dtype=torch.long))
            samples.append(sample)
        data = model.data_preprocessor({"inputs": inputs, "data_samples": samples}, model.training)
        return {"batch_inputs": data["inputs"], "batch_data_samples": data["data_samples"]}

    return batch


@pytest.fixture(scope="session")
def glyph_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an experiment and its checkpoint: the demo's detector, made narrow, with weights from seed 0.

    Beside `epoch_1.pth` and `tiny.yaml` lies `scenes`, the devkit that it names: 6 base classes and 6 novel ones.
    """
    import yaml
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    from repmet.data.generated.glyph_scenes import lay_out
    from repmet.detection.experiment import prepare
    from repmet.experiments.config.loading import experiment_text, load_experiment
    from repmet.experiments.running.checkpoints import save_checkpoint

    folder = tmp_path_factory.mktemp("glyph_run")
    counts = {"train": 8, "val": 4, "novel_support": 12, "novel_query": 12}
    scenes = lay_out(folder / "scenes", image_size=160, base_classes=6, novel_classes=6, counts=counts)
    tiny = {
        "_base_": str(Path(__file__).parents[2] / "experiments/detection/demo.yaml"),
        "data": {"root": str(scenes), "glyph_scenes": None},
        "model": {
            "backbone": {"channels": [8, 16, 16, 16]},
            "neck": {"in_channels": [16, 16, 16], "out_channels": 16},
            "rpn_head": {"in_channels": 16, "feat_channels": 16},
            "roi_head": {
                "bbox_roi_extractor": {"out_channels": 16},
                "bbox_head": {"in_channels": 16, "conv_channels": 16, "embed_dim": 16},
            },
            "test_cfg": {"rpn": {"max_per_img": 20}},
        },
        "train_cfg": {"max_epochs": 1},
        "param_scheduler": [{"type": "MultiStepLR", "milestones": [1]}],
        "episodes": {"way": 3, "shot": [1, 2], "query": 2, "episodes": 3, "support_iou": 0.7},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    cfg = load_experiment(folder / "tiny.yaml")
    text = experiment_text(cfg)
    prepare(cfg)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg.model)
    experiment = {"tree": "detection", "name": "tiny", "yaml": text, "base_classes": list(cfg.data.base_classes)}
    save_checkpoint({"state_dict": model.state_dict(), "meta": {"experiment": experiment}}, folder / "epoch_1.pth")
    return folder


@pytest.fixture(scope="session")
def make_devkit() -> Callable[..., Path]:
    """Writes a VOC devkit of 120 x 80 images of noise."""

    def make(root: Path, images: Mapping[str, Sequence[tuple]], lists: Mapping[str, Sequence[str]]) -> Path:
        """`images`: by id the objects as (class, (xmin, ymin, xmax, ymax) counted from 1, difficult)."""
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (root / folder).mkdir(parents=True)
        rng = np.random.default_rng(0)
        for name, objects in images.items():
            Image.fromarray(rng.integers(0, 255, (80, 120, 3), np.uint8)).save(root / "JPEGImages" / f"{name}.jpg")
            tags = "".join(
                f"<object><name>{label}</name><difficult>{hard}</difficult><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin>"
                f"<xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox></object>"
                for label, b, hard in objects
            )
            xml = f"<annotation><size><width>120</width><height>80</height></size>{tags}</annotation>"
            (root / "Annotations" / f"{name}.xml").write_text(xml)
        for name, ids in lists.items():
            (root / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(ids) + "\n")
        return root

    return make


@pytest.fixture
def world():
    """`episode_world.world`: an episode, its embedded images and the records of its supports."""
    from episode_world import world

    return world()


@pytest.fixture(scope="session")
def toy_episodes(tmp_path_factory: pytest.TempPathFactory):
    """`toy_episodes.toy`: results, episodes, pools and embedded images."""
    from toy_episodes import toy

    return toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def support_records(glyph_run: Path):
    return read_image_set(glyph_run / "scenes", "novel_support")[:4]


@pytest.fixture(scope="module")
def support(support_records, tmp_path_factory) -> Path:
    """Images with their XML files side by side."""
    folder = tmp_path_factory.mktemp("support")
    for r in support_records:
        shutil.copy(r.path, folder)
        shutil.copy(r.path.parents[1] / "Annotations" / f"{r.id}.xml", folder)
    return folder


@pytest.fixture(scope="module")
def photos(glyph_run: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for r in read_image_set(glyph_run / "scenes", "novel_query")[:3]:
        shutil.copy(r.path, folder)
    with Image.open(next(folder.iterdir())) as image:
        image.crop((0, 0, 160, 120)).save(folder / "wide.png")  # another size
    return folder


@pytest.fixture(scope="module")
def taught(glyph_run: Path, support: Path):
    from repmet.detection.few_shot_detector import FewShotDetector

    detector = FewShotDetector(glyph_run)
    detector.learn(support)
    return detector


@pytest.fixture(scope="module")
def marks(support_records) -> dict:
    from found import marks_of  # not at the top, as above

    return marks_of(sorted(support_records, key=lambda r: r.id))
