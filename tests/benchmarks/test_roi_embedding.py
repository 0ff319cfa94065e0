"""RepMet's head on frozen RoI features: what its map is before and after training, and what else of an image stays."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from repmet.benchmarks import roi_embedding
from repmet.benchmarks.roi_embedding import FEATURES, ResidualEmbedding, kinds_of, means, train, whole_images
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.protocols.own_data import OwnData


def test_means_are_of_unit_length_stride_by_stride() -> None:
    features = torch.rand(4, 4320) + 0.1
    parts = means(features)
    assert parts.shape == (4, 432)
    torch.testing.assert_close(parts[:, :112].norm(dim=1), torch.ones(4))
    torch.testing.assert_close(parts[:, 112:], F.normalize(features[:, 112:432], dim=1))


def test_an_untrained_map_changes_no_direction() -> None:
    x = torch.randn(5, 7)
    torch.testing.assert_close(ResidualEmbedding(7)(x), F.normalize(x, dim=1))


def test_training_turns_away_from_what_tells_no_classes_apart(monkeypatch) -> None:
    """Half of the numbers are noise, larger than what tells two classes apart: cosines in the map see less of it."""
    monkeypatch.setattr(roi_embedding, "STEPS", 100)
    monkeypatch.setattr(roi_embedding, "RATE", 0.02)
    monkeypatch.setattr(roi_embedding, "DECAY", 0.0)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2).repeat(200)
    signal = F.one_hot(labels, 2) + 0.1 * torch.randn(400, 2, generator=generator)
    x = torch.cat([signal, 2 * torch.randn(400, 6, generator=generator)], 1)
    embedding = train(F.normalize(x, dim=1)[:200], labels[:200], 2)

    def margin(z: torch.Tensor) -> float:
        cosines, same = z @ z.T, labels[200:, None] == labels[None, 200:]
        return float(cosines[same].mean() - cosines[~same].mean())

    unseen = F.normalize(x, dim=1)[200:]
    assert margin(embedding(unseen)) > 2 * margin(unseen)


def test_only_roi_features_change() -> None:
    def spaces(n: int) -> dict[str, torch.Tensor]:
        return {"repmet": torch.rand(n, 3), FEATURES: F.normalize(torch.rand(n, 4320), dim=1)}

    image = EmbeddedImage(torch.rand(2, 4), torch.rand(2, 4), torch.rand(2), spaces(2), spaces(1))
    by_kind = kinds_of(ResidualEmbedding(432), OwnData("set", ("cup",), [], [], {"a": image}))
    assert list(by_kind) == ["frozen", "joined", "alone"] and by_kind["frozen"].embedded["a"] is image
    for name, width in (("joined", 4752), ("alone", 432)):
        other = by_kind[name].embedded["a"]
        assert (
            other.embeddings["repmet"] is image.embeddings["repmet"] and other.boxes is image.boxes and other.views is None
        )
        assert other.embeddings[FEATURES].shape == (2, width) and other.annotated[FEATURES].shape == (1, width)
        torch.testing.assert_close(other.embeddings[FEATURES].norm(dim=1), torch.ones(2))


def test_an_image_of_a_class_folder_is_one_box(tmp_path) -> None:
    for k in range(3):
        path = tmp_path / "birds" / "wren" / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((10, 20 + k, 3), np.uint8)).save(path)
    records = whole_images(str(tmp_path / "birds"), 2)
    assert [r.names for r in records] == [("wren",)] * 2
    assert records[1].boxes.tolist() == [[0, 0, 21, 10]]


def test_without_data_one_line(capsys) -> None:
    with pytest.raises(SystemExit):
        roi_embedding.main([])
    assert roi_embedding.main(["--data", "no/such/folder"]) == 2
    assert "no/such/folder" in capsys.readouterr().err.splitlines()[-1]
