"""The mmdet modules of the detection tree, registered by importing this package.

An mmdet config of any origin can name them: `custom_imports = dict(imports=['detection.modules'])`.
"""

from detection.mmcv_kernels import install

install()  # before anything imports mmcv.ops, which looks its kernels up at import

from mmdet.registry import MODELS  # noqa: E402

from detection.modules.coarse_rpn import CoarseRPNHead  # noqa: E402
from detection.modules.gradient_decoupling import DecoupledRoIExtractor, DecoupledRPNHead  # noqa: E402
from detection.modules.np_repmet_head import NPRepMetBBoxHead  # noqa: E402
from detection.modules.ohem import RepMetOHEMSampler  # noqa: E402
from detection.modules.paste_objects import PasteObjects  # noqa: E402
from detection.modules.repmet_head import RepMetBBoxHead  # noqa: E402
from detection.modules.roi_extractor import FusedRoIExtractor  # noqa: E402
from detection.modules.selective_dcn import SelectiveDCNResNet  # noqa: E402
from model_definitions.encoders import ConvPyramid  # noqa: E402

MODELS.register_module(module=ConvPyramid)  # a backbone as it is

__all__ = [
    "CoarseRPNHead",
    "ConvPyramid",
    "DecoupledRPNHead",
    "DecoupledRoIExtractor",
    "FusedRoIExtractor",
    "NPRepMetBBoxHead",
    "PasteObjects",
    "RepMetBBoxHead",
    "RepMetOHEMSampler",
    "SelectiveDCNResNet",
]
