"""Writes a detector's graph and the facts about it into a folder that `repmet.runtime` opens without torch."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from repmet.data.files.atomic import check_folder, naming
from repmet.data.files.digest import sha256_of
from repmet.data.files.output_folder import check_output, output_folder
from repmet.detection.checkpoint import Detector
from repmet.detection.embedding.kept_maps import view_of
from repmet.detection.export.network import INPUTS, OUTPUTS, ExportedNetwork
from repmet.detection.export.quantise import quantise
from repmet.detection.exported.folder import FACTS, ExportedFacts, write_facts
from repmet.detection.scoring.rule import few_shot_rule
from repmet.errors import UserError
from repmet.experiments.running.onnx_graph import OPSET, check_format, write_graph, write_onnx
from repmet.graph_folder import GRAPHS, files_of, weights_file
from repmet.installation import version
from repmet.model_definitions.weights_digest import weights_digest

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
        ValueError: files of others are in the folder, under the names of what is written (`output_folder`).
        MissingPackage: the packages that write the format are not installed.
        OSError: no room, or the folder cannot be written to; before any of the work where that can be known.
    """
    check_format(format)
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
    check_output(folder, files_of(format, FACTS))
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
    with output_folder(folder) as aside, tempfile.TemporaryDirectory() as scratch:
        traced, graph = Path(scratch) / "traced.onnx", aside / GRAPHS[format]
        write_network(network, traced, facts)
        if calibration is not None:
            quantised = Path(scratch) / "quantised.onnx"
            with naming(Path(scratch)):
                quantise(traced, calibration, view.size, quantised)
            traced = quantised
        write_graph(traced, graph)
        written = ExportedFacts(**facts, sha256=sha256_of(weights_file(graph)))
        write_facts(written, aside)
    return written


def write_network(network: nn.Module, path: Path, facts: dict[str, Any] | None = None) -> None:
    """Traces a detector's network into an ONNX file, with the facts among its metadata.

    Raises:
        MissingPackage: onnx is not installed.
    """
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (*TRACED, 3), np.uint8))
    marks = torch.tensor([[16.0, 24.0, 120.0, 200.0], [60.0, 32.0, 90.0, 70.0]])
    write_onnx(
        network,
        (image, marks),
        path,
        inputs=INPUTS,
        outputs=OUTPUTS,
        axes={
            "image": {0: "height", 1: "width"},
            "marks": {0: "marks"},
            **{name: {0: "boxes"} for name in ("boxes", "proposals", "objectness", "embeddings")},
            "marked": {0: "marks"},
            **{name: {0: "objects"} for name in ("objects", "object_scores")},
        },
        facts=facts or {},
    )
