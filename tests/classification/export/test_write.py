"""An encoder's graph: what it gives is torch's, representatives are an input, and what does not fit is refused."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from repmet.classification.export.write import export_classifier
from repmet.classification.exported.encoder import ExportedEncoder
from repmet.classification.exported.folder import read_facts
from repmet.classification.image_encoder import ImageEncoder, open_encoder
from repmet.command import main
from repmet.errors import UserError
from repmet.graph_session import open_session
from repmet.model_definitions.representatives import squared_distances

pytest.importorskip("onnx")
SECTION = {"type": "Conv4", "in_channels": 3, "width": 16, "image_size": 16}


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    torch.manual_seed(0)
    return open_encoder(SECTION)


@pytest.fixture(scope="module")
def folder(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    export_classifier(encoder, folder)
    return folder


def pictures(number: int, channels: int = 3, side: int = 16) -> list[np.ndarray]:
    return list(np.random.default_rng(1).integers(0, 256, (number, side, side, channels), np.uint8))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_embeddings_and_distances_are_torchs(encoder, folder, runtime) -> None:
    pytest.importorskip(runtime)
    facts = read_facts(folder)
    session = open_session(folder / facts.graph, runtime, 1)
    for number, classes, modes in ((1, 1, 1), (5, 3, 2), (2, 7, 4)):
        shown = pictures(number)
        points = np.random.default_rng(2).standard_normal((classes, modes, facts.dim)).astype(np.float32)
        outputs = session.run({"images": np.stack(shown), "representatives": points})
        expected = encoder.embedded(shown)
        np.testing.assert_allclose(outputs["embeddings"], expected, atol=1e-4)
        d2 = squared_distances(torch.from_numpy(expected), torch.from_numpy(points))
        np.testing.assert_allclose(outputs["distances"], d2, atol=1e-4, rtol=1e-4)


def test_grey_pictures_a_checkpoint_and_openvinos_form(checkpoint, tmp_path) -> None:
    grey = open_encoder({"type": "Conv4", "in_channels": 1, "width": 8, "image_size": 28})
    export_classifier(grey, tmp_path / "grey")
    shown = pictures(3, 1, 28)
    np.testing.assert_allclose(ExportedEncoder(tmp_path / "grey").embedded(shown), grey.embedded(shown), atol=1e-4)
    pytest.importorskip("openvino")
    trained = open_encoder(checkpoint)
    facts = export_classifier(trained, tmp_path / "trained", "openvino")
    assert facts.graph == "network.xml" and facts.sigma == 0.4 and facts.source == str(checkpoint)
    exported = ExportedEncoder(tmp_path / "trained")
    assert exported.runtime == "openvino" and exported.digest == trained.digest and exported.size == (16, 16)
    shown = pictures(3)
    np.testing.assert_allclose(exported.embedded(shown), trained.embedded(shown), atol=1e-4, rtol=1e-4)


def test_the_metadata_says_what_it_is(folder) -> None:
    import onnx

    about = {p.key: p.value for p in onnx.load(folder / "network.onnx").metadata_props}
    facts = json.loads((folder / "classifier.json").read_text())
    assert about["digest"] == facts["digest"] and about["size"] == "(16, 16)" and facts["source"]["type"] == "Conv4"


@pytest.mark.parametrize("change", ["graph", "facts", "format", "key", "size", "gone"])
def test_what_does_not_belong_together_is_refused(folder, tmp_path, change) -> None:
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    facts = json.loads((copy / "classifier.json").read_text())
    if change == "graph":
        (copy / "network.onnx").write_bytes(b"other")
    elif change == "gone":
        (copy / "network.onnx").unlink()
    else:
        changed = {
            "facts": "{",
            "format": json.dumps(facts | {"format": "repmet-export-0"}),
            "key": json.dumps({k: v for k, v in facts.items() if k != "dim"}),
            "size": json.dumps(facts | {"size": 16}),
        }
        (copy / "classifier.json").write_text(changed[change])
    with pytest.raises((UserError, FileNotFoundError), match=r"export (it|the classifier) again") as caught:
        ExportedEncoder(copy)
    assert "\n" not in str(caught.value)


def test_what_gives_other_embeddings_is_not_kept(encoder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(ExportedEncoder, "embedded", lambda self, pixels: np.ones((len(pixels), self.facts.dim)))
    with pytest.raises(UserError, match=r"gives other embeddings than torch here, .* apart; use torch"):
        export_classifier(encoder, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no exported classifier, it holds no classifier\.json"):
        ExportedEncoder(tmp_path)


def test_a_network_without_onnx_operators_is_named(tmp_path) -> None:
    class Strange(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svdvals(images.mean(1))

    encoder = ImageEncoder(Strange(), [{"type": "ToFloat"}], (16, 16), {"type": "Strange"})
    with pytest.raises(UserError, match=r"Strange.*this encoder cannot be exported"):
        export_classifier(encoder, tmp_path)
    with pytest.raises(UserError, match="--format is onnx or openvino, not 'tflite'"):
        export_classifier(encoder, tmp_path, "tflite")


def test_the_command_exports_and_says_what_does_not_go_together(checkpoint, tmp_path, capsys) -> None:
    source = str(checkpoint)
    assert main(["export", source, "--classifier", "--out", str(tmp_path / "out")]) == 0
    assert "network.onnx" in capsys.readouterr().out and (tmp_path / "out/classifier.json").is_file()
    for words, message in (
        (["--classifier", "--int8", "--calibration", "x"], "--int8 is of detectors"),
        (["--size", "64"], "it goes with --classifier"),
    ):
        assert main(["export", source, *words, "--out", str(tmp_path / "no")]) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "no").exists()


def test_nobody_elses_model_is_replaced(encoder, tmp_path) -> None:
    (tmp_path / "network.onnx").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"network\.onnx: was not written by an earlier run"):
        export_classifier(encoder, tmp_path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("network.onnx", b"mine")]
