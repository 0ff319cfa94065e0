"""mmcv's table of kernels (`mmcv._ext`), served by csrc where mmcv is installed without its own.

mmcv is a Python package over one compiled module of 77 operators that takes more than 20 minutes to build. A Faster R-CNN
needs three of them, and those are in `csrc`. `install()` puts a finder in Python's way of importing, which makes the module
when mmcv asks for it; nothing is imported before. A complete mmcv keeps its own.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAME = "mmcv._ext"
SUPPRESSION = "mmcv.ops.nms"


class _Table(ModuleType):
    """The module itself. mmcv asks it for every operator when `mmcv.ops` is imported, so names resolve and calls raise."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: Any, **__: Any) -> None:
            from repmet.detection.mmcv_ops.kernels import remedy

            raise NotImplementedError(f"mmcv's operator {name!r} is not compiled. {remedy()}")

        return missing


class _TableLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Table(spec.name, __doc__)

    def exec_module(self, module: ModuleType) -> None:
        from repmet.detection.mmcv_ops.kernels import TABLE

        vars(module).update(TABLE)


class _SuppressionLoader(Loader):
    """mmcv's own module, with the class-aware NMS in the place of the one that shifts coordinates."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        from repmet.detection.mmcv_ops.kernels import class_aware

        self.loader.exec_module(module)
        module.batched_nms = class_aware(module.batched_nms)


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in (NAME, SUPPRESSION):
            return None
        if name == NAME:
            return None if spec_of_others(self, name, path) else ModuleSpec(name, _TableLoader(), origin=__file__)
        if spec_of_others(self, NAME, path):
            return None
        spec = spec_of_others(self, name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _SuppressionLoader(spec.loader)
        return spec


def spec_of_others(finder: MetaPathFinder, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """What the other finders say."""
    specs = (f.find_spec(name, path) for f in sys.meta_path if f is not finder and hasattr(f, "find_spec"))
    return next((spec for spec in specs if spec is not None), None)


def install() -> None:
    """Serves mmcv's table from now on, where mmcv has none; before the first `import mmcv.ops`, and once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def owner() -> str:
    """Whose kernels mmcv has: 'mmcv' or 'csrc'.

    Raises:
        ModuleNotFoundError: mmcv is not installed.
    """
    try:
        spec = importlib.util.find_spec(NAME)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "detection needs mmcv, which is not installed: pip install 'repmet[detection]'", name="mmcv"
        ) from error
    return "csrc" if spec is not None and isinstance(spec.loader, _TableLoader) else "mmcv"
