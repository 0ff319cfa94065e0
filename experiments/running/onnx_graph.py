"""Writes a network as a graph of standard ONNX operators, or in OpenVINO's form."""

import errno
import io
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repmet.data.files.atomic import copy_file, write_atomically
from repmet.errors import MissingPackage, UserError
from repmet.graph_folder import GRAPHS
from repmet.installation import version

OPSET = 17  # the first with RoiAlign's `half_pixel` is 16; what newer ones bring is not used


def check_format(format: str) -> None:
    """Raises ValueError for a format that no graph is written in."""
    if format not in GRAPHS:
        raise UserError(f"--format is {' or '.join(GRAPHS)}, not {format!r}")


def write_onnx(
    network: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
    facts: Mapping[str, Any],
) -> None:
    """Traces a network into an ONNX file, checked, with facts among its metadata.

    By torch's exporter that traces: its successor, `torch.export`, takes minutes over sizes that depend on the values.

    Args:
        example: what it is traced with.
        axes: by input or output the dimensions that may be of any size, with a name for each.

    Raises:
        MissingPackage: onnx is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise MissingPackage("export needs onnx: pip install 'repmet[export]'") from None
    traced = io.BytesIO()
    silent = redirect_stdout(io.StringIO())  # where it fails the exporter prints all of the graph
    with warnings.catch_warnings(), torch.no_grad(), silent:
        warnings.simplefilter("ignore")  # that the exporter is old, and of every number that it keeps as it is
        torch.onnx.export(
            network.eval(),
            example,
            traced,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: dict(named) for name, named in axes.items()},
        )
    graph = onnx.load_from_string(traced.getvalue())
    onnx.helper.set_model_props(graph, {key: str(value) for key, value in facts.items()})
    graph.producer_name, graph.producer_version = "repmet", version()
    onnx.checker.check_model(graph)
    write_atomically(path, lambda file: file.write(graph.SerializeToString()))


def write_graph(traced: Path, graph: Path) -> None:
    """Puts an ONNX file where its folder is: as it is, or in OpenVINO's form, `.xml` and `.bin`, float32 as such.

    Raises:
        MissingPackage: openvino is not installed. OSError: there is no room, or the file cannot be written to.
    """
    if graph.suffix != ".xml":
        copy_file(traced, graph)
        return
    try:
        import openvino
    except ModuleNotFoundError:
        raise MissingPackage("--format openvino needs openvino: pip install 'repmet[export]'") from None
    model = openvino.Core().read_model(str(traced))
    try:
        openvino.save_model(model, str(graph), compress_to_fp16=False)
    except RuntimeError as error:  # a stream's, which does not say why
        said = str(error).strip().splitlines()[0]
        raise OSError(errno.EIO, f"cannot be written: is the disk full? ({said})", str(graph)) from None
