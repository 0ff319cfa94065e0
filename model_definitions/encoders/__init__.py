"""Images (B, C, H, W) -> embeddings (B, e): the encoders of the papers, and the head that follows them."""

from repmet.model_definitions.encoders.bn_inception import BNInception
from repmet.model_definitions.encoders.convolutional import Conv4, ConvPyramid, LeNet, conv_block
from repmet.model_definitions.encoders.embedding_head import EmbeddingHead
from repmet.model_definitions.encoders.encoder import Encoder
from repmet.model_definitions.encoders.pretrained import Inception, TorchvisionEncoder
from repmet.model_definitions.encoders.timm_encoder import TimmEncoder, TimmMaps

__all__ = [
    "BNInception",
    "Conv4",
    "ConvPyramid",
    "EmbeddingHead",
    "Encoder",
    "Inception",
    "LeNet",
    "TimmEncoder",
    "TimmMaps",
    "TorchvisionEncoder",
    "conv_block",
]
