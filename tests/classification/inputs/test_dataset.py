"""The data set of images: gathered batches, sizes, files, and what it refuses before a training begins."""

import pytest
import torch
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from PIL import Image

from repmet.classification.inputs import dataset, samplers  # noqa: F401  (registers the batch sampler)
from repmet.classification.inputs.dataset import ImageSet
from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.sources import digits


@pytest.fixture
def folder(tmp_path):
    for k, name in enumerate(("rose", "aster")):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.new("RGB", (20 + i, 16), (40 * i, 100 * k, 0)).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_a_batch_is_gathered_and_transformed():
    images = digits.read(None, "train")
    data = ImageSet("digits", None, "train", transform=[{"type": "ToFloat"}])
    assert len(data) == 1000 and torch.equal(data.labels, images.labels) and data.classes == images.classes
    batch = data.__getitems__([7, 3, 3, 999])
    assert batch["indices"].tolist() == [7, 3, 3, 999] and torch.equal(batch["labels"], images.labels[[7, 3, 3, 999]])
    assert torch.equal(batch["inputs"], images.images[[7, 3, 3, 999]].float() / 255)
    image = data[3]
    assert (
        torch.equal(image["inputs"], batch["inputs"][1]) and image["labels"] == batch["labels"][1] and image["indices"] == 3
    )
    assert data[-1]["indices"] == 999
    with pytest.raises(IndexError):
        data[1000]
    assert ImageSet("digits", None, "train").__getitems__([0])["inputs"].dtype == torch.uint8


def test_episodes_through_mmengines_loader():
    loader = Runner.build_dataloader(
        {
            "dataset": {
                "type": "ImageSet",
                "source": "digits",
                "root": None,
                "split": "train",
                "transform": [{"type": "ToFloat"}],
            },
            "sampler": {"type": "DefaultSampler", "shuffle": True},
            "batch_size": 1,
            "batch_sampler": {"type": "EpisodeBatchSampler", "way": 4, "shot": 2, "query": 3, "episodes": 5},
            "collate_fn": {"type": "as_gathered"},
        },
        seed=0,
    )
    batches = list(loader)
    assert len(batches) == len(loader) == 5
    data = loader.dataset
    for batch in batches:
        assert batch["inputs"].shape == (20, 1, 8, 8) and batch["inputs"].dtype == torch.float32
        assert torch.equal(batch["labels"], data.labels[batch["indices"]])
        assert torch.equal(batch["inputs"], data.images[batch["indices"]].float() / 255)
        support, query = batch["labels"][:8].view(4, 2), batch["labels"][8:].view(4, 3)
        assert (support == support[:, :1]).all() and (query == support[:, :1]).all()


@pytest.mark.parametrize("workers", [0, 1])
def test_files_are_decoded_once_or_batch_by_batch_alike(folder, monkeypatch, workers):
    held = ImageSet("image_folder", str(folder), "all", size=12)
    assert held.images.shape == (8, 3, 12, 12)
    monkeypatch.setattr(dataset, "MEMORY", 100)
    streamed = ImageSet("image_folder", str(folder), "all", size=[12, 12])
    assert streamed.images is None
    loader = torch.utils.data.DataLoader(streamed, batch_size=3, num_workers=workers, collate_fn=dataset.as_gathered)
    decoded = torch.cat([batch["inputs"] for batch in loader])
    assert torch.equal(decoded, held.images) and torch.equal(held[5]["inputs"], streamed[5]["inputs"])
    assert decoded[:, 0, 5, 5].tolist() == [0, 40, 80, 120] * 2 and decoded[:, 1, 5, 5].tolist() == [100] * 4 + [0] * 4


def test_images_in_memory_can_be_brought_to_another_size():
    assert ImageSet("digits", None, "val", size=16).images.shape == (200, 1, 16, 16)
    images = LabelledImages.of_names(["a", "b"], images=torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    assert ImageSet(images).images is images.images
    assert ImageSet("digits", None, "val", {"val_per_class": 3, "only": ["1", "2"]}).images.shape == (6, 1, 8, 8)


def test_what_cannot_be_read_is_refused_at_once(folder, monkeypatch):
    with pytest.raises(ValueError, match="image_folder all: its images lie in files of any shape; say to which `size`"):
        ImageSet("image_folder", str(folder), "all")
    (folder / "rose" / "2.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"rose/2\.png: cannot be read as an image"):
        DATASETS.build({"type": "ImageSet", "source": "image_folder", "root": str(folder), "split": "all", "size": 12})
    monkeypatch.setattr(dataset, "MEMORY", 100)  # too large to be held
    with pytest.raises(ValueError, match=r"rose/2\.png: cannot be read as an image"):
        ImageSet("image_folder", str(folder), "all", size=12)
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        ImageSet("digit", None, "train")
    with pytest.raises(ValueError, match="no image"):
        ImageSet(LabelledImages.of_names([], images=torch.zeros(0, 1, 8, 8, dtype=torch.uint8)))
