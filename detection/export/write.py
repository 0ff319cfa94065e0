"""Writes a detector's graph and the facts about it into a folder that `repmet.runtime` opens without torch."""

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from repmet.data.files.atomic import make_folder
from repmet.data.files.digest import sha256_of
from repmet.detection.checkpoint import Detector
from repmet.detection.embedding.kept_maps import view_of
from repmet.detection.export.network import INPUTS, OUTPUTS, ExportedNetwork
from repmet.detection.export.quantise import quantise
from repmet.detection.exported.folder import FACTS, GRAPHS, ExportedFacts, weights_file, write_facts
from repmet.detection.scoring.rule import few_shot_rule
from repmet.errors import MissingPackage, UserError
from repmet.installation import version
from repmet.model_definitions.weights_digest import weights_digest

OPSET = 17  # the first with RoiAlign's `half_pixel` is 16; what newer ones bring is not used
METHOD = "logistic"  # what the runtime learns by
TRACED = (256, 352)  # height and width of the image that the graph is traced with; any other is as good


def export_detector(
    detector: Detector, folder: str | Path, format: str = "onnx", calibration: str | Path | None = None
) -> ExportedFacts:
    """Writes a detector to a folder: the graph, and `detector.json` when all else is there.

    Args:
        detector: on a frozen backbone, its classes learnt by logistic regression (experiments/detection/photos.yaml).
        folder: is made; what an earlier export left there is replaced.
        format: `onnx`, which both runtimes read, or `openvino`.
        calibration: a folder of unlabelled images, by which the graph is brought to 8 bits; None: it stays in float32.

    Raises:
        ValueError: a detector of another kind or method, or no such format.
        FileNotFoundError: there is no such folder of images.
        MissingPackage: the packages that write the format are not installed.
    """
    if format not in GRAPHS:
        raise UserError(f"--format is {' or '.join(GRAPHS)}, not {format!r}")
    model, cfg = detector.model, detector.cfg
    network = ExportedNetwork(model)
    method = (cfg.get("episodes") or {}).get("method") or "repmet"
    view = view_of(cfg.test_pipeline)
    if method != METHOD or view is None:
        raise UserError(
            f"only detectors that learn by {METHOD} from images fitted into a square are exported "
            f"(experiments/detection/photos.yaml); this one learns by {method}"
        )
    folder = make_folder(folder)
    (folder / FACTS).unlink(missing_ok=True)
    graph = folder / GRAPHS[format]
    facts: dict[str, Any] = {
        "version": version(),
        "graph": graph.name,
        "opset": OPSET,
        "precision": "float32" if calibration is None else "int8",
        "detector": weights_digest(model),
        "method": method,
        "rule": few_shot_rule(cfg),
        "classes": tuple(model.roi_head.bbox_head.CLASSES),
        "size": view.size,
        "mean": tuple(network.mean.flatten().tolist()),
        "std": tuple(network.std.flatten().tolist()),
        "multiple": network.multiple,
    }
    with tempfile.TemporaryDirectory() as scratch:
        traced = Path(scratch) / "traced.onnx"
        write_onnx(network, traced, facts)
        if calibration is not None:
            quantised = Path(scratch) / "quantised.onnx"
            quantise(traced, calibration, view.size, quantised)
            traced = quantised
        if format == "onnx":
            shutil.copyfile(traced, graph)
        else:
            write_openvino(traced, graph)
    written = ExportedFacts(**facts, sha256=sha256_of(weights_file(graph)))
    write_facts(written, folder)
    return written


def write_onnx(network: nn.Module, path: Path, facts: dict[str, Any] | None = None) -> None:
    """Traces the network into an ONNX file, checked, with the facts among its metadata.

    By torch's exporter that traces: its successor, `torch.export`, takes minutes over sizes that depend on the values.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise MissingPackage("export needs onnx: pip install 'repmet[export]'") from None
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (*TRACED, 3), np.uint8))
    marks = torch.tensor([[16.0, 24.0, 120.0, 200.0], [60.0, 32.0, 90.0, 70.0]])
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that the exporter is old, and of every number that it keeps as it is
        traced = Path(scratch) / "traced.onnx"
        torch.onnx.export(
            network.eval(),
            (image, marks),
            str(traced),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes={
                "image": {0: "height", 1: "width"},
                "marks": {0: "marks"},
                **{name: {0: "boxes"} for name in ("boxes", "proposals", "objectness", "embeddings")},
                "marked": {0: "marks"},
                **{name: {0: "objects"} for name in ("objects", "object_scores")},
            },
        )
        graph = onnx.load(traced)
    onnx.helper.set_model_props(graph, {key: str(value) for key, value in (facts or {}).items()})
    graph.producer_name, graph.producer_version = "repmet", version()
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def write_openvino(onnx_graph: Path, path: Path) -> None:
    """Writes OpenVINO's `.xml` and `.bin` of an ONNX graph, what is in float32 as such."""
    try:
        import openvino
    except ModuleNotFoundError:
        raise MissingPackage("--format openvino needs openvino: pip install 'repmet[export]'") from None
    openvino.save_model(openvino.Core().read_model(str(onnx_graph)), str(path), compress_to_fp16=False)
