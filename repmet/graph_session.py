"""A graph ready to run, by ONNX Runtime or OpenVINO, in float32: the two give what torch gives."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from repmet.errors import MissingPackage, UserError

RUNTIMES = ("onnxruntime", "openvino")
Arrays = Mapping[str, np.ndarray]


class Session(Protocol):
    """A graph; `run` takes its inputs by name and gives its outputs by name."""

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]: ...


def open_session(graph: str | Path, runtime: str = "auto", threads: int | None = None) -> Session:
    """Opens a graph on the CPU.

    Args:
        graph: an `.onnx` file, which either runtime reads, or OpenVINO's `.xml`.
        runtime: `onnxruntime`, `openvino`, or `auto`: OpenVINO for its own files, else what is there, ONNX Runtime first.
        threads: at most so many; None: as many as the runtime finds cores.

    Raises:
        MissingPackage: the runtime is not installed.
        ValueError: no such runtime, or one that cannot read the file.
    """
    graph = Path(graph)
    name = chosen_runtime(graph, runtime)
    return OnnxSession(graph, threads) if name == "onnxruntime" else OpenvinoSession(graph, threads)


def chosen_runtime(graph: Path, runtime: str = "auto") -> str:
    """Which runtime opens a graph; arguments and errors as of `open_session`."""
    able: Sequence[str] = ("openvino",) if graph.suffix == ".xml" else RUNTIMES
    if runtime not in ("auto", *RUNTIMES):
        raise UserError(f"runtime is auto, {' or '.join(RUNTIMES)}, not {runtime!r}")
    if runtime != "auto" and runtime not in able:
        raise UserError(f"{graph}: {runtime} reads no such file; export with --format onnx, or take openvino")
    there = [name for name in able if runtime in ("auto", name) and importlib.util.find_spec(name)]
    if not there:
        wanted = " or ".join(able) if runtime == "auto" else runtime
        raise MissingPackage(f"an exported network needs {wanted}: pip install 'repmet[runtime]'")
    return there[0]


class OnnxSession:
    """By ONNX Runtime."""

    def __init__(self, graph: Path, threads: int | None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        # Waiting threads sleep. Spinning takes a core from whatever else the process does, and is no quicker.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # it has a dozen kinds of its own, all derived from Exception alone
            raise UserError(f"{graph}: ONNX Runtime cannot read it ({' '.join(str(error).split())[:200]})") from None
        self.names = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        return dict(zip(self.names, self._session.run(self.names, dict(inputs)), strict=True))


class OpenvinoSession:
    """By OpenVINO. Where processors have bfloat16 units it would take them unasked; scores then differ by a percent."""

    def __init__(self, graph: Path, threads: int | None) -> None:
        import openvino

        settings: dict[str, object] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        try:
            model = core.read_model(str(graph))
            compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise UserError(f"{graph}: OpenVINO cannot read it ({' '.join(str(error).split())[:200]})") from None
        self._request = compiled.create_infer_request()
        self.names = [output.get_any_name() for output in model.outputs]  # those of `compiled` have others besides

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        results = self._request.infer({name: np.ascontiguousarray(value) for name, value in inputs.items()})
        return {name: np.array(results[i]) for i, name in enumerate(self.names)}
