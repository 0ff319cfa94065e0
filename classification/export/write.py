"""Writes an encoder's graph and the facts about it into a folder that `repmet.runtime` opens without torch."""

import importlib.util
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from repmet.classification.export.network import INPUTS, OUTPUTS, ExportedClassifier
from repmet.classification.exported.encoder import ExportedEncoder
from repmet.classification.exported.folder import FACTS, ClassifierFacts, write_facts
from repmet.classification.image_encoder import ImageEncoder
from repmet.data.files.atomic import check_folder
from repmet.data.files.digest import sha256_of
from repmet.data.files.output_folder import check_output, output_folder
from repmet.errors import UserError, one_line
from repmet.experiments.running.onnx_graph import OPSET, check_format, write_graph, write_onnx
from repmet.experiments.running.plain_values import plain
from repmet.graph_folder import GRAPHS, files_of, weights_file
from repmet.graph_session import RUNTIMES
from repmet.installation import version

PARITY = 1e-4  # of what the largest feature is, between torch and a runtime
PICTURES = 3  # that the two are compared on


def export_classifier(encoder: ImageEncoder, folder: str | Path, format: str = "onnx") -> ClassifierFacts:
    """Writes an encoder to a folder: the graph and `classifier.json`, when a runtime, where one is installed, gives what
    torch gives.

    Args:
        encoder: of `classification.image_encoder.open_encoder`.
        folder: is made; what an earlier export left there is replaced when the new one is there, whole.
        format: `onnx`, which both runtimes read, or `openvino`.

    Raises:
        ValueError: no such format; a network that no ONNX operators describe, or of other results in the runtime.
        MissingPackage: the packages that write the format are not installed.
        OSError: no room, or the folder cannot be written to.
    """
    check_format(format)
    check_output(folder, files_of(format, FACTS))
    generator = np.random.default_rng(0)
    pictures = list(generator.integers(0, 256, (PICTURES, *encoder.size, encoder.channels), np.uint8))
    expected = encoder.embedded(pictures)
    room = sum(value.nbytes for value in encoder.network.state_dict().values())
    check_folder(folder, room)
    facts = ClassifierFacts(
        version=version(),
        graph=GRAPHS[format],
        sha256="",
        opset=OPSET,
        digest=encoder.digest,
        source=plain(encoder.source),
        size=encoder.size,
        channels=encoder.channels,
        dim=expected.shape[1],
        sigma=encoder.sigma,
    )
    with output_folder(folder) as aside, tempfile.TemporaryDirectory() as scratch:
        traced, graph = Path(scratch) / "traced.onnx", aside / facts.graph
        _trace(encoder, traced, facts)
        write_graph(traced, graph)
        facts = replace(facts, sha256=sha256_of(weights_file(graph)))
        write_facts(facts, aside)
        _check_parity(aside, expected, pictures)
    return facts


def _trace(encoder: ImageEncoder, path: Path, facts: ClassifierFacts) -> None:
    images = torch.zeros(2, *facts.size, facts.channels, dtype=torch.uint8, device=encoder.device)
    representatives = torch.zeros(3, 2, facts.dim, device=encoder.device)
    about = {key: value for key, value in asdict(facts).items() if key != "sha256"}
    try:
        write_onnx(
            ExportedClassifier(encoder),
            (images, representatives),
            path,
            inputs=INPUTS,
            outputs=OUTPUTS,
            axes={
                "images": {0: "images"},
                "representatives": {0: "classes", 1: "modes"},
                "embeddings": {0: "images"},
                "distances": {0: "images", 1: "classes", 2: "modes"},
            },
            facts=about,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        raise UserError(f"{facts.source}: this encoder cannot be exported ({one_line(error)[:200]})") from None


def _check_parity(folder: Path, expected: np.ndarray, pictures: list[np.ndarray]) -> None:
    """Raises ValueError where what a runtime gives is not what torch gives; where none is installed it is not looked at."""
    if not any(importlib.util.find_spec(name) for name in RUNTIMES):
        return
    exported = ExportedEncoder(folder)
    apart = np.abs(exported.embedded(pictures) - expected).max() / max(1.0, np.abs(expected).max())
    if not apart <= PARITY:
        raise UserError(f"{exported.runtime} gives other embeddings than torch here, {apart:.2g} apart; use torch")
