"""The mmdet modules of the detection tree, registered by importing this package.

An mmdet config of any origin can name them: `custom_imports = dict(imports=['repmet.detection.modules'])`.
"""

from mmdet.registry import MODELS

from repmet.detection.modules.coarse_rpn import CoarseRPNHead
from repmet.detection.modules.frozen_detector import (
    FrozenBackboneRCNN,
    FrozenPyramid,
    MapsDataPreprocessor,
    ObjectRPNHead,
)
from repmet.detection.modules.frozen_head import FrozenFeatureHead, FrozenRoIExtractor, ObjectRoIHead
from repmet.detection.modules.gradient_decoupling import DecoupledRoIExtractor, DecoupledRPNHead
from repmet.detection.modules.load_image import LoadImageFromFile
from repmet.detection.modules.np_repmet_head import NPRepMetBBoxHead
from repmet.detection.modules.ohem import RepMetOHEMSampler
from repmet.detection.modules.paste_objects import PasteObjects
from repmet.detection.modules.repmet_head import RepMetBBoxHead
from repmet.detection.modules.roi_extractor import FusedRoIExtractor
from repmet.detection.modules.selective_dcn import SelectiveDCNResNet
from repmet.model_definitions.encoders import ConvPyramid, TimmMaps

MODELS.register_module(module=ConvPyramid)  # backbones as they are
MODELS.register_module(name="TimmBackbone", module=TimmMaps)

__all__ = [
    "CoarseRPNHead",
    "ConvPyramid",
    "DecoupledRPNHead",
    "DecoupledRoIExtractor",
    "FrozenBackboneRCNN",
    "FrozenFeatureHead",
    "FrozenPyramid",
    "FrozenRoIExtractor",
    "FusedRoIExtractor",
    "LoadImageFromFile",
    "MapsDataPreprocessor",
    "NPRepMetBBoxHead",
    "ObjectRPNHead",
    "ObjectRoIHead",
    "PasteObjects",
    "RepMetBBoxHead",
    "RepMetOHEMSampler",
    "SelectiveDCNResNet",
    "TimmMaps",
]
