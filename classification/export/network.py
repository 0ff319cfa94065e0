"""What is exported of a classifier: pictures and representatives in, embeddings and distances out."""

import torch.nn.functional as F
from torch import Tensor, nn

from repmet.classification.image_encoder import ImageEncoder
from repmet.model_definitions.representatives import squared_distances

INPUTS = ("images", "representatives")
OUTPUTS = ("embeddings", "distances")


class ExportedClassifier(nn.Module):
    """An encoder with its normalisation, and the head. The classes are an input: new ones need no new export.

    Shapes: B pictures of H x W pixels in C channels, N classes, K representatives a class, e embedding dimensions.
    """

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.network, self.transform, self.unit = encoder.network, encoder.transform, encoder.unit

    def forward(self, images: Tensor, representatives: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, C) uint8 and (N, K, e) -> (B, e) and squared distances (B, N, K)."""
        embeddings = self.network(self.transform(images.permute(0, 3, 1, 2))).float()
        if self.unit:
            embeddings = F.normalize(embeddings, dim=-1)
        return embeddings, squared_distances(embeddings, representatives)
