"""What the methods of classification share: an encoder, perhaps a head on it, and the face that mmengine's loops call."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from repmet.classification.metrics.accuracies import predictions
from repmet.errors import UserError

SIGMA2 = 0.25  # of the posteriors on class means; with one mean a class no decision depends on it


class ClassRepresentatives(NamedTuple):
    """What a set of classes is told apart by.

    points: (N, K, e). sigma2: the variance of the posteriors on them. present: (N, K), 0 where a class has fewer than K.
    """

    points: Tensor
    sigma2: float
    present: Tensor | None = None


class Method(BaseModel):
    """An embedding network f and a rule that learns from its embeddings.

    Args:
        encoder: the network under the embedding, of `model_definitions.encoders`: images (B, C, H, W) to (B, f).
        head: what maps the encoder's output to the embedding, (B, f) to (B, e); none: it is the embedding.
        data_preprocessor, init_cfg: as mmengine's `BaseModel`.

    A subclass says what its loss is, and, where it learns the classes of its training set, their representatives:
    `class_representatives`. `inputs` of two dimensions are features that the encoder gave earlier (they can be
    computed once where it is frozen), and go to the head.
    """

    title = "embedding"  # in tables of results
    rule = "simple"  # of `accuracies.predictions`: the one that the method itself classifies by
    distance = "squared_euclidean"  # that images of an episode are compared by

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.encoder = MODELS.build(dict(encoder))
        width = self.encoder.out_channels
        self.head: nn.Module = nn.Identity() if head is None else MODELS.build({"in_channels": width} | dict(head))
        self.out_channels: int = getattr(self.head, "out_channels", width)

    @classmethod
    def size(cls, model: dict, labels: Tensor, classes: Sequence[str], batch: Mapping[str, Any]) -> None:
        """Fills in, in the method's section of an experiment, what follows from its training set and its batches.

        Args:
            model: the section; changed.
            labels, classes: of the training set.
            batch: the section `train_dataloader.batch_sampler`, empty where there is none.

        Raises:
            ValueError: the batches are not what the method needs.
        """

    def embed(self, inputs: Tensor) -> Tensor:
        """Embeddings (B, e) of images (B, C, H, W), or of the encoder's features (B, f)."""
        return self.head(self.encoder(inputs) if inputs.dim() == 4 else inputs)

    def forward(
        self, inputs: Tensor, labels: Tensor | None = None, indices: Tensor | None = None, mode: str = "tensor"
    ) -> Tensor | dict[str, Tensor]:
        """mmengine's face.

        Args:
            inputs: (B, C, H, W) or (B, f).
            labels: (B,) class ids, where `mode` is "loss".
            indices: (B,) the images' places in the training set, where `mode` is "loss".
            mode: "loss": a dict of the loss and of figures to be logged; "tensor": embeddings (B, e); "predict": (B,) class
                ids.
        """
        embeddings = self.embed(inputs)
        if mode == "loss":
            return self.loss(embeddings, labels, indices)
        return self.predict(embeddings) if mode == "predict" else embeddings

    def loss(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> dict[str, Tensor]:
        """The training's loss and the accuracy on the batch."""
        raise NotImplementedError

    def class_representatives(self) -> ClassRepresentatives | None:
        """The representatives of the training set's classes; None where the method holds none."""
        return None

    def other_rules(self, embeddings: Tensor) -> dict[str, Tensor]:
        """By name (B,) class ids that the method gives otherwise than by representatives, such as by a linear layer."""
        return {}

    def predict(self, embeddings: Tensor) -> Tensor:
        """(B,) class ids of the training set's classes.

        Raises:
            ValueError: the method holds nothing of these classes; it classifies by an episode's support.
        """
        representatives = self.class_representatives()
        if representatives is None:
            raise UserError(f"{type(self).__name__} holds nothing of its classes; it classifies by given examples of them")
        rules = predictions(embeddings, representatives.points, representatives.sigma2, present=representatives.present)
        return rules[self.rule]
