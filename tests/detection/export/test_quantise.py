"""INT8: which layers, on which images, and that what comes out still sees what the float32 graph sees."""

import numpy as np
import onnx
import pytest
from exported_photos import SIZES, marks, scenes
from PIL import Image

from repmet.command import main
from repmet.detection.export.quantise import IMAGES, calibration_inputs, quantise
from repmet.detection.exported.folder import read_facts
from repmet.detection.exported.look import ExportedDetector
from repmet.errors import UserError

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, image in enumerate(scenes()):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def quantised(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    assert main(["export", "--int8", "--calibration", str(photos), "--out", str(folder)]) == 0
    return folder


def test_weights_are_integers_but_for_the_first_and_the_last_layers(quantised, exported_photos) -> None:
    facts, plain = read_facts(quantised), exported_photos / "network.onnx"
    assert facts.precision == "int8" and (quantised / facts.graph).stat().st_size < 0.4 * plain.stat().st_size
    graph = onnx.load(quantised / facts.graph)
    assert {p.key: p.value for p in graph.metadata_props}["precision"] == "int8"
    made_by = {output: node.op_type for node in graph.graph.node for output in node.output}
    layers = {n.name: made_by.get(n.input[1]) for n in graph.graph.node if n.op_type in ("Conv", "Gemm")}
    integer = {name for name, kind in layers.items() if kind == "DequantizeLinear"}
    assert "/backbone/blocks.2/blocks.2.0/conv_pw/Conv" in integer and "/bbox_head/fcs.0/Gemm" in integer
    parts = ("stem", "blocks.0/", "blocks.1/", "neck", "atss", "fc_", "rpn")
    kept = {name for name in layers if any(part in name for part in parts)}
    assert len(kept) > 20 and not kept & integer and kept | integer == set(layers)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_embeddings_stay_close(runtime, quantised, exported_photos) -> None:
    pytest.importorskip(runtime)
    plain, ours = (ExportedDetector(folder, runtime, threads=1) for folder in (exported_photos, quantised))
    for number, pixels in enumerate(scenes()):
        boxes = np.array(marks(number, *SIZES[number]), np.float32)
        expected, seen = plain.look(pixels, boxes), ours.look(pixels, boxes)
        cosine = (expected.marked * seen.marked).sum(1)
        assert cosine.min() > 0.93 and cosine.max() < 1 - 1e-5  # it is another graph
        np.testing.assert_allclose(np.linalg.norm(seen.marked, axis=1), 1, atol=1e-5)


def test_openvino_writes_integers_too(quantised, exported_photos, tmp_path) -> None:
    pytest.importorskip("openvino")
    from repmet.experiments.running.onnx_graph import write_graph

    write_graph(quantised / "network.onnx", tmp_path / "network.xml")
    assert (tmp_path / "network.bin").stat().st_size < 0.4 * (exported_photos / "network.onnx").stat().st_size


def test_images_come_evenly_from_the_folder(tmp_path) -> None:
    for number in range(2 * IMAGES):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number:03d}.png")
    inputs = calibration_inputs(tmp_path, 8)
    reds = [int(row["image"][0, 0, 0]) for row in inputs]
    assert len(reds) == IMAGES and reds[0] == 0 and reds[-1] == 2 * IMAGES - 1 and inputs[0]["marks"].shape == (0, 4)


def test_what_cannot_be_calibrated_on_is_refused(tmp_path, capsys, exported_photos) -> None:
    with pytest.raises((UserError, OSError), match="nowhere"):
        quantise(exported_photos / "network.onnx", tmp_path / "nowhere", 384, tmp_path / "x.onnx")
    for words in (["--int8"], ["--calibration", str(tmp_path)]):
        assert main(["export", "--out", str(tmp_path / "x"), *words]) == 2
        assert "--int8 and --calibration DIR go together" in capsys.readouterr().err
    assert not (tmp_path / "x.onnx").exists()
