"""From an experiment and a checkpoint to a detector, and its mAP on the base classes."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from repmet.detection.checkpoint import Detector, load_detector
from repmet.detection.metrics import base_metrics
from repmet.detection.protocols.base_classes import base_class_map
from repmet.experiments.config.loading import experiment_text

IMAGES = {
    "one": [("cat", (11, 21, 50, 60), 0), ("dog", (61, 11, 100, 70), 0)],
    "two": [("dog", (31, 11, 70, 70), 0), ("cat", (81, 11, 110, 50), 1)],
    "three": [("cow", (31, 11, 70, 70), 0)],
}
HEAD = {
    "type": "RepMetBBoxHead",
    "num_classes": 80,
    "in_channels": 16,
    "roi_feat_size": 3,
    "fc_channels": 24,
    "embed_dim": 8,
}
PIPELINE = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "scale": (240, 160), "keep_ratio": True},
    {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
]
RPN = {"nms_pre": 100, "max_per_img": 20, "nms": {"type": "nms", "iou_threshold": 0.7}, "min_bbox_size": 0}
ANCHORS = {"type": "AnchorGenerator", "scales": [6], "ratios": [1.0], "strides": [4, 8, 16, 32]}
MODEL = {
    "type": "FasterRCNN",
    "data_preprocessor": {"type": "DetDataPreprocessor", "mean": [120] * 3, "std": [60] * 3, "pad_size_divisor": 32},
    "backbone": {
        "type": "ResNet",
        "depth": 18,
        "base_channels": 8,
        "init_cfg": {"type": "Pretrained", "checkpoint": "/no/such/file.pth"},
    },
    "neck": {"type": "FPN", "in_channels": [8, 16, 32, 64], "out_channels": 16, "num_outs": 4},
    "rpn_head": {"type": "RPNHead", "in_channels": 16, "feat_channels": 16, "anchor_generator": ANCHORS},
    "roi_head": {
        "type": "StandardRoIHead",
        "bbox_roi_extractor": {
            "type": "SingleRoIExtractor",
            "roi_layer": {"type": "RoIAlign", "output_size": 3, "sampling_ratio": 2},
            "out_channels": 16,
            "featmap_strides": [4, 8, 16, 32],
        },
        "bbox_head": HEAD,
    },
    "train_cfg": None,
    "test_cfg": {"rpn": RPN, "rcnn": {"score_thr": 0.0, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 9}},
}


@pytest.fixture
def experiment(tmp_path, make_devkit) -> Config:
    root = make_devkit(tmp_path / "devkit", IMAGES, {"test": list(IMAGES), "cow": ["three"]})
    data = {"root": str(root), "base_test": "test", "base_classes": ["cat", "dog"], "novel_classes": ["cow"]}
    values = {"tree": "detection", "default_scope": "mmdet", "data": data, "model": MODEL, "test_pipeline": PIPELINE}
    return Config(values)


@pytest.fixture
def trained(experiment) -> torch.nn.Module:
    """A model of two classes, weights from seed 0."""
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    model = copy.deepcopy(experiment.model)  # mmdet puts parts of it into others when it builds
    model.roi_head.bbox_head.num_classes = 2
    model.backbone.init_cfg = None
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        return MODELS.build(model)


@pytest.fixture
def checkpoint(tmp_path, trained):
    path = tmp_path / "epoch_3.pth"
    made = {"images": 2, "epochs": 3, "seconds": 1.5, "machine": "a machine"}
    meta = {"experiment": {"base_classes": ["cat", "dog"]}, "training": made}
    torch.save({"state_dict": trained.state_dict(), "meta": meta}, path)
    return path


def test_the_weights_are_the_checkpoints_and_no_other_file_is_asked_for(experiment, trained, checkpoint):
    before = experiment.to_dict()
    detector = load_detector(experiment, checkpoint)
    state = detector.model.state_dict()
    assert all(torch.equal(state[name].cpu(), value) for name, value in trained.state_dict().items())
    assert not detector.model.training
    assert detector.cfg.model.roi_head.bbox_head.num_classes == 2
    assert detector.training == {"images": 2, "epochs": 3, "seconds": 1.5, "machine": "a machine"}
    assert experiment.to_dict() == before  # the caller's stays as it was


def test_class_lists_come_from_files(experiment, checkpoint, tmp_path):
    (tmp_path / "devkit" / "base.txt").write_text("cat\ndog\n")
    experiment.data.base_classes = "base.txt"
    assert load_detector(experiment, checkpoint).cfg.data.base_classes == ["cat", "dog"]


def test_other_classes_are_refused(experiment, checkpoint):
    experiment.data.base_classes = ["cat", "dog", "emu"]
    message = r"trained on 2 base classes, the experiment names 3, the first difference is 'emu'"
    with pytest.raises(ValueError, match=rf"epoch_3\.pth: was {message}"):
        load_detector(experiment, checkpoint)


def test_classes_are_known_by_their_names_in_whatever_order(experiment, checkpoint):
    experiment.data.base_classes = ["dog", "cat"]
    assert load_detector(experiment, checkpoint).cfg.data.base_classes == ["cat", "dog"]


def test_a_checkpoint_of_the_other_tree_is_named_as_such(experiment, trained, tmp_path):
    meta = {"experiment": {"tree": "classification", "method": "ProtoNet", "yaml": "tree: classification"}}
    torch.save({"state_dict": trained.state_dict(), "meta": meta}, tmp_path / "best.pth")
    with pytest.raises(ValueError, match=r"best\.pth: was trained by an experiment of the classification tree"):
        load_detector(experiment, tmp_path / "best.pth")


def test_model_and_pipeline_are_the_checkpoints(experiment, trained, tmp_path, capsys):
    """Another scale, another mean and other anchors fit the weights, and would be measured in silence."""
    meta = {"experiment": {"base_classes": ["cat", "dog"], "yaml": experiment_text(experiment)}}
    torch.save({"state_dict": trained.state_dict(), "meta": meta}, tmp_path / "epoch_3.pth")
    experiment.test_pipeline[1].scale = (60, 40)
    experiment.model.data_preprocessor.mean = [0] * 3
    experiment.model.rpn_head.anchor_generator.scales = [20]
    experiment.model.test_cfg.rcnn.max_per_img = 5
    experiment.model.backbone.init_cfg = None
    detector = load_detector(experiment, tmp_path / "epoch_3.pth")
    assert detector.cfg.test_pipeline[1].scale == (240, 160)
    assert detector.model.data_preprocessor.mean.flatten().tolist() == [120] * 3
    assert detector.model.rpn_head.prior_generator.scales.tolist() == [6]
    assert detector.model.roi_head.test_cfg.max_per_img == 5, "what is done with the network's answers is the experiment's"
    said = capsys.readouterr().err
    assert "epoch_3.pth: measured as it was trained, with " in said and "mean [120, 120, 120] (here [0, 0, 0])" in said
    assert said.count("\n") == 1 and "max_per_img" not in said and "init_cfg" not in said
    with pytest.raises(ValueError, match=r"scale=\(60, 40\): .*epoch_3\.pth was trained with \(240, 160\)"):
        load_detector(experiment, tmp_path / "epoch_3.pth", ["test_pipeline.1.scale=[60, 40]"])


def test_weights_that_do_not_fit_are_refused(experiment, checkpoint):
    experiment.model.roi_head.bbox_head.embed_dim = 9
    with pytest.raises(ValueError, match=r"epoch_3\.pth: .*(9, 24|2, 5, 9)"):
        load_detector(experiment, checkpoint)


def test_another_number_of_classes_is_refused_where_the_checkpoint_names_none(experiment, trained, tmp_path):
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "plain.pth")
    experiment.data.base_classes = ["cat", "dog", "emu"]
    with pytest.raises(ValueError, match=r"plain\.pth: .*has shape"):
        load_detector(experiment, tmp_path / "plain.pth")


def test_a_file_without_weights_is_refused(experiment, trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "bare.pth")
    with pytest.raises(ValueError, match=r"bare\.pth: holds no `state_dict`"):
        load_detector(experiment, tmp_path / "bare.pth")


def test_what_ships_is_measured_by_its_own_command(experiment, tmp_path):
    (tmp_path / "photos.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"without its frozen backbone; what it is worth .* python -m detection\.own_data"):
        load_detector(experiment, tmp_path / "photos.safetensors")


def test_missing_files_are_named(experiment, checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth: no such checkpoint"):
        load_detector(experiment, tmp_path / "none.pth")
    experiment.data.root = str(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"data\.root: .*nowhere is not there"):
        load_detector(experiment, checkpoint)


# --- mAP on the base classes -----------------------------------------------------------------------------------------------


class Oracle(torch.nn.Module):
    """Gives, by image id, fixed detections in rows label, score, x1, y1, x2, y2."""

    def __init__(self, answers):
        super().__init__()
        self.answers, self.batches = answers, []

    def test_step(self, batch):
        self.batches.append(len(batch["inputs"]))
        for sample in batch["data_samples"]:
            rows = torch.tensor(self.answers.get(sample.img_id, []), dtype=torch.float32).reshape(-1, 6)
            sample.pred_instances = InstanceData(labels=rows[:, 0].long(), scores=rows[:, 1], bboxes=rows[:, 2:])
        return batch["data_samples"]


RIGHT = {"one": [[0, 0.9, 10, 20, 49, 59], [1, 0.8, 60, 10, 99, 69]], "two": [[1, 0.7, 30, 10, 69, 69]]}


def test_right_answers_score_one(experiment):
    oracle = Oracle(RIGHT)
    metrics = base_class_map(Detector(oracle, experiment, {}), batch_size=2)
    assert metrics == pytest.approx({"voc07": 1.0, "voc": 1.0, "coco": 1.0}, abs=1e-6)
    assert oracle.batches == [2, 1]


def test_difficult_objects_are_ignored_and_other_classes_are_not(experiment):
    hard = RIGHT | {"two": [*RIGHT["two"], [0, 0.95, 80, 10, 109, 49]]}
    assert base_class_map(Detector(Oracle(hard), experiment, {}))["voc"] == pytest.approx(1.0)
    cow = RIGHT | {"three": [[0, 0.95, 30, 10, 69, 69]]}  # a cat where the cow is, above the only right one
    assert base_class_map(Detector(Oracle(cow), experiment, {}))["voc"] == pytest.approx(0.75)


def test_nothing_found_scores_nothing(experiment):
    assert base_class_map(Detector(Oracle({}), experiment, {})) == {"voc07": 0.0, "voc": 0.0, "coco": 0.0}


def test_without_a_test_list_there_is_none(experiment):
    experiment.data.base_test = None
    assert base_class_map(Detector(Oracle({}), experiment, {})) is None


def test_a_list_without_base_objects_is_an_error(experiment):
    experiment.data.base_test = "cow"
    with pytest.raises(ValueError, match="no box is to be found"):
        base_class_map(Detector(Oracle({}), experiment, {}))


def test_a_real_detector_is_scored_by_its_own_predictions(experiment, checkpoint):
    from mmengine.dataset import Compose, pseudo_collate
    from mmengine.registry import DefaultScope

    from repmet.data.sources.voc import read_image_set
    from repmet.detection.dataset import to_data_info

    detector = load_detector(experiment, checkpoint)
    detections, truth = [], []
    with DefaultScope.overwrite_default_scope("mmdet"):
        pipeline = Compose(PIPELINE)
    for i, record in enumerate(read_image_set(experiment.data.root, "test")):
        with torch.no_grad():
            (sample,) = detector.model.test_step(pseudo_collate([pipeline(to_data_info(record, ()))]))
        p = sample.pred_instances
        assert len(p) and p.bboxes[:, 2].max() <= 120  # in pixels of the file, not of the resized image
        detections.append(np.column_stack([np.full(len(p), i), p.labels, p.scores, p.bboxes]))
        for name, box, hard in zip(record.names, record.boxes, record.difficult, strict=True):
            if name != "cow":
                truth.append([i, ["cat", "dog"].index(name), *box, hard])
    expected = base_metrics(np.concatenate(detections), np.array(truth, dtype=float), 2)
    metrics = base_class_map(detector, batch_size=2)
    assert metrics == pytest.approx({name: expected[name] for name in ("voc07", "voc", "coco")})
