"""INT8: weights and activations of a float32 graph in 8 bits, their ranges calibrated on unlabelled images.

    q = clip(round(x / s) + z)        x' = s (q - z)

with a scale s and a zero point z for each output channel of a layer's weights and for each map (Jacob et al. 2018,
Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, equation 1). ONNX Runtime's
quantiser writes it as pairs of QuantizeLinear and DequantizeLinear, which OpenVINO reads too.
"""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repmet.data.readers.image_inputs import image_inputs
from repmet.detection.exported.resize import fitted_size, resized
from repmet.errors import MissingPackage, UserError

IMAGES = 64  # that are looked at, at most
INTEGER = ("/backbone/", "/bbox_head/fcs.", "/fcs.")
# Of these the first layers stay in float32: few weights, large ranges, and all later maps hang on them. With them in 8 bits
# an embedding's cosine to its float32 self is 0.95, without 0.99. So do the neck (few weights; with it ONNX
# Runtime lost two points of AP50) and the last layers: scores, centres and box deltas.
FLOAT = ("/backbone/conv_stem/", "/backbone/blocks.0/", "/backbone/blocks.1/")
OPERATORS = ("Conv", "Gemm", "Clip", "Relu", "Add")


def quantise(graph: Path, images: str | Path, size: int, out: Path) -> int:
    """Writes an ONNX graph in 8 bits.

    Args:
        graph: in float32, of `detection.export.write.write_network`.
        images: a folder of images like those that the detector will see; at most `IMAGES`, evenly from it, are looked at.
        size: of the square that they are fitted into.
        out: the file to write.

    Returns:
        How many images were looked at.

    Raises:
        FileNotFoundError, ValueError: there is no such folder, no image in it, or one cannot be read.
        MissingPackage: onnxruntime is not installed.
    """
    inputs = calibration_inputs(images, size)
    try:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ModuleNotFoundError:
        raise MissingPackage("--int8 needs onnxruntime: pip install 'repmet[runtime,export]'") from None

    class Images(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest: Iterator[dict[str, np.ndarray]] = iter(inputs)

        def get_next(self) -> Any:
            return next(self.rest, None)

    with tempfile.TemporaryDirectory() as scratch, _quietly():
        folded = Path(scratch) / "folded.onnx"  # BatchNorm goes into the convolutions
        quant_pre_process(str(graph), str(folded), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(folded),
            str(out),
            Images(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(OPERATORS),
            nodes_to_quantize=integer_nodes([(n.name, n.op_type) for n in onnx.load(folded).graph.node]),
            per_channel=True,
            reduce_range=True,  # 7 bits of the weights: sums of pairs overflow where processors have no VNNI
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        written = onnx.load(out)
        onnx.helper.set_model_props(
            written, {p.key: p.value for p in onnx.load(graph).metadata_props} | {"precision": "int8"}
        )
        onnx.save(written, out)
    return len(inputs)


def integer_nodes(nodes: Sequence[tuple[str, str]]) -> list[str]:
    """The names of those nodes, of (name, operator), that are computed in 8 bits."""
    return [name for name, kind in nodes if kind in OPERATORS and name.startswith(INTEGER) and not name.startswith(FLOAT)]


def calibration_inputs(images: str | Path, size: int) -> list[dict[str, np.ndarray]]:
    """What the graph takes of at most `IMAGES` images of a folder, evenly from it."""
    listed = list(image_inputs(images))
    if not listed:
        raise UserError(f"{images}: no image in it to calibrate on")
    chosen = np.unique(np.linspace(0, len(listed) - 1, IMAGES).round().astype(int))
    inputs = []
    for number in chosen:
        image = listed[number]
        pixels = np.asarray(image.open())
        fitted = fitted_size(pixels.shape[1], pixels.shape[0], size)
        if min(fitted) >= 1:
            inputs.append({"image": resized(pixels, fitted), "marks": np.zeros((0, 4), np.float32)})
    if not inputs:
        raise UserError(f"{images}: no image of it is wide enough to calibrate on")
    return inputs


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The quantiser advises by the root logger and prints what it cannot infer."""
    root = logging.getLogger()
    level = root.level
    root.setLevel("ERROR")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
