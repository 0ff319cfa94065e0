"""From an encoder's features to the embedding: (B, in) -> (B, e)."""

import torch.nn.functional as F
from torch import Tensor, nn

from repmet.errors import UserError


class EmbeddingHead(nn.Module):
    """One fully connected layer, or two with batch norm and ReLU between them, then projection onto the unit sphere.

    RepMet's classifier has `hidden=2048`, `out_channels=1024` (Karlinsky et al. 2019, section 3).

    Args:
        in_channels: features that the encoder gives (its `out_channels`).
        out_channels: e, dimensions of the embedding.
        hidden: width of the layer between; None for a single layer.
        batch_norm: normalise the hidden layer's output before its ReLU.
        normalize: `E / |E|`, so that squared distances between embeddings lie in [0, 4].

    Raises:
        ValueError: a size below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int | None = None,
        batch_norm: bool = True,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        sizes = (in_channels, out_channels) if hidden is None else (in_channels, hidden, out_channels)
        if min(sizes) < 1:
            raise UserError(f"EmbeddingHead needs sizes >= 1, not {' -> '.join(map(str, sizes))}")
        layers: list[nn.Module] = []
        if hidden is not None:
            # batch norm takes a bias away
            layers += [nn.Linear(in_channels, hidden, bias=not batch_norm)]
            layers += [nn.BatchNorm1d(hidden)] if batch_norm else []
            layers += [nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-2], out_channels))
        self.normalize = normalize
        self.out_channels = out_channels

    def forward(self, features: Tensor) -> Tensor:
        embeddings = self.layers(features)  # (B, e)
        return F.normalize(embeddings, dim=-1) if self.normalize else embeddings
