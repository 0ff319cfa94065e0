"""Writes a detector's graph and the facts about it into a folder that `repmet.runtime` opens without torch."""

import errno
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from repmet.data.files.atomic import check_folder, copy_file, naming, write_atomically
from repmet.data.files.digest import sha256_of
from repmet.data.files.whole_folder import whole_folder
from repmet.detection.checkpoint import Detector
from repmet.detection.embedding.kept_maps import view_of
from repmet.detection.export.network import INPUTS, OUTPUTS, ExportedNetwork
from repmet.detection.export.quantise import quantise
from repmet.detection.exported.folder import GRAPHS, ExportedFacts, weights_file, write_facts
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
        folder: is made; what an earlier export left there is replaced when the new one is there, whole.
        format: `onnx`, which both runtimes read, or `openvino`.
        calibration: a folder of unlabelled images, by which the graph is brought to 8 bits; None: it stays in float32.

    Raises:
        ValueError: a detector of another kind or method, or no such format.
        FileNotFoundError: there is no such folder of images.
        MissingPackage: the packages that write the format are not installed.
        OSError: no room, or the folder cannot be written to; before any of the work where that can be known.
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
    room = sum(value.nbytes for value in model.state_dict().values())
    check_folder(folder, room)
    check_folder(tempfile.gettempdir(), 2 * room if calibration is None else 4 * room)
    facts: dict[str, Any] = {
        "version": version(),
        "graph": GRAPHS[format],
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
    with whole_folder(folder) as aside, tempfile.TemporaryDirectory() as scratch:
        traced, graph = Path(scratch) / "traced.onnx", aside / GRAPHS[format]
        write_onnx(network, traced, facts)
        if calibration is not None:
            quantised = Path(scratch) / "quantised.onnx"
            with naming(Path(scratch)):
                quantise(traced, calibration, view.size, quantised)
            traced = quantised
        if format == "onnx":
            copy_file(traced, graph)
        else:
            write_openvino(traced, graph)
        written = ExportedFacts(**facts, sha256=sha256_of(weights_file(graph)))
        write_facts(written, aside)
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
    traced = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that the exporter is old, and of every number that it keeps as it is
        torch.onnx.export(
            network.eval(),
            (image, marks),
            traced,
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
    graph = onnx.load_from_string(traced.getvalue())
    onnx.helper.set_model_props(graph, {key: str(value) for key, value in (facts or {}).items()})
    graph.producer_name, graph.producer_version = "repmet", version()
    onnx.checker.check_model(graph)
    write_atomically(path, lambda file: file.write(graph.SerializeToString()))


def write_openvino(onnx_graph: Path, path: Path) -> None:
    """Writes OpenVINO's `.xml` and `.bin` of an ONNX graph, what is in float32 as such."""
    try:
        import openvino
    except ModuleNotFoundError:
        raise MissingPackage("--format openvino needs openvino: pip install 'repmet[export]'") from None
    model = openvino.Core().read_model(str(onnx_graph))
    try:
        openvino.save_model(model, str(path), compress_to_fp16=False)
    except RuntimeError as error:  # a stream's, which does not say why
        said = str(error).strip().splitlines()[0]
        raise OSError(errno.EIO, f"cannot be written: is the disk full? ({said})", str(path)) from None
