"""What the tests compare the operators with: torchvision's, or where that does not load, the definitions."""

try:
    from torchvision.ops import nms, roi_align, roi_pool

    NAME = "torchvision"
except (ImportError, OSError, RuntimeError):  # not installed, or built for another torch
    from tests.csrc.definitions import nms, roi_align, roi_pool

    NAME = "definitions"

__all__ = ["NAME", "nms", "roi_align", "roi_pool"]
