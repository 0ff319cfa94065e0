"""A tree small enough to train in a second: a linear model on random data, with randomness everywhere a run has it."""

import random
import time

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from torch import nn
from torch.utils.data import Dataset

from repmet.errors import UserError
from repmet.model_definitions.representatives import Representatives

SECTIONS = {"data": {"size": None, "classes": None}, "train_pipeline": None}
MODEL_SECTIONS = {"train_cfg": {"head": {"noise": None}}, "test_cfg": {"head": {"score_thr": None}}}


@DATASETS.register_module()
class ToyDataset(Dataset):
    """`size` points of dimension 4, jittered by all three random generators; `slow` seconds each."""

    def __init__(self, size: int, classes: list[str], slow: float = 0.0, broken: str | None = None) -> None:
        self.points = torch.randn(size, 4, generator=torch.Generator().manual_seed(1))
        self.metainfo = {"classes": tuple(classes)}
        self.slow = slow
        self.broken = broken

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, i: int) -> dict:
        if self.broken and i == 3:
            raise UserError(f"{self.broken}: truncated image; fetch it again")
        time.sleep(self.slow)
        jitter = random.random() + np.random.rand() + torch.rand(1).item()
        return {"inputs": self.points[i] + 0.1 * jitter, "target": self.points[i].sum()}


@MODELS.register_module()
class ToyModel(BaseModel):
    def __init__(
        self,
        dim: int = 4,
        num_classes: int = 2,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.linear = nn.Linear(dim, 1)
        self.norm = nn.BatchNorm1d(dim)
        self.head = Representatives(num_classes, 2, 3)

    def forward(self, inputs: list, target: list, mode: str = "tensor") -> dict | torch.Tensor:
        x = torch.nn.functional.dropout(self.norm(torch.stack(list(inputs))), 0.2, self.training)
        if mode != "loss":
            return self.linear(x)
        target = torch.stack(list(target))
        return {
            "loss_fit": (self.linear(x)[:, 0] - target).square().mean(),
            "loss_w": 1e-3 * self.head.weight.square().sum(),
        }


def prepare(cfg: Config) -> None:
    classes = cfg.data.classes
    if not classes:
        raise UserError("data.classes is empty: name at least one")
    dataset = {"type": "ToyDataset", "size": cfg.data.size, "classes": classes}
    cfg.train_dataloader.dataset = dataset | dict(cfg.train_dataloader.get("dataset") or {})
    cfg.model.num_classes = len(classes)
    cfg.checkpoint_meta = {"classes": list(classes)}
