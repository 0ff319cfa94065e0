"""easyfsl 1.5.0 as its users run it: `EasySet` decodes every image of every episode, `TaskSampler` draws, and
`PrototypicalNetworks` embeds support and queries.

No dependency of ours; `episodes.INSTALL` says how to put it into a folder of its own. As shipped it does not run on torch
2.11, whose `Sampler` takes no `data_source` any more: `Tasks` takes that one argument away.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import torch
from easyfsl.datasets import EasySet, FeaturesDataset
from easyfsl.methods import PrototypicalNetworks
from easyfsl.samplers import TaskSampler
from easyfsl.utils import evaluate_on_one_task
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from torchvision import transforms


class Tasks(TaskSampler):
    """`TaskSampler` on a torch whose samplers take no `data_source`."""

    def __init__(self, *arguments) -> None:
        with patch.object(Sampler, "__init__", lambda self, data_source=None: None):
            super().__init__(*arguments)


def image_set(folder: Path, size: int) -> EasySet:
    """The class folders of `folder`, described in the JSON file that easyfsl wants; ink 1, paper 0."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    described = folder.with_suffix(".json")
    described.write_text(
        json.dumps({"class_names": [path.name for path in classes], "class_roots": [str(path) for path in classes]})
    )
    steps = [transforms.Resize((size, size)), transforms.ToTensor(), transforms.Lambda(lambda image: 1 - image)]
    return EasySet(described, transform=transforms.Compose(steps))


def feature_set(embeddings: Tensor, labels: Tensor) -> FeaturesDataset:
    return FeaturesDataset(labels.tolist(), embeddings, [str(c) for c in range(int(labels.max()) + 1)])


def loader(images, way: int, shot: int, query: int, episodes: int, workers: int = 0) -> DataLoader:
    """easyfsl's data loader, from its README."""
    tasks = Tasks(images, way, shot, query, episodes)
    return DataLoader(images, batch_sampler=tasks, num_workers=workers, collate_fn=tasks.episodic_collate_fn)


def train(model: PrototypicalNetworks, optimizer: torch.optim.Optimizer, episodes: DataLoader) -> float:
    """One pass over a loader, as in easyfsl's notebook on episodic training; the last loss."""
    model.train()
    for support, support_labels, query, query_labels, _ in episodes:
        optimizer.zero_grad()
        model.process_support_set(support, support_labels)
        loss = nn.functional.cross_entropy(model(query), query_labels)
        loss.backward()
        optimizer.step()
    return loss.item()


@torch.no_grad()
def accuracies(model: PrototypicalNetworks, episodes: DataLoader) -> Iterator[float]:
    """Of every episode; `easyfsl.utils.evaluate` sums the same numbers up."""
    model.eval()
    for support, support_labels, query, query_labels, _ in episodes:
        right, total = evaluate_on_one_task(model, support, support_labels, query, query_labels)
        yield right / total
