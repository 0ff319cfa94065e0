"""Images (B, C, H, W) -> embeddings (B, e): the encoders of the papers, and the head that follows them."""

from model_definitions.encoders.bn_inception import BNInception
from model_definitions.encoders.convolutional import Conv4, ConvPyramid, LeNet, conv_block
from model_definitions.encoders.embedding_head import EmbeddingHead
from model_definitions.encoders.encoder import Encoder
from model_definitions.encoders.pretrained import Inception, TorchvisionEncoder

__all__ = [
    "BNInception",
    "Conv4",
    "ConvPyramid",
    "EmbeddingHead",
    "Encoder",
    "Inception",
    "LeNet",
    "TorchvisionEncoder",
    "conv_block",
]
