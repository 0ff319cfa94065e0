"""mmdet without the line that it prints about a package that nobody asked for ("Could not import OneDL", twice)."""

import contextlib
import io
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from repmet.detection.mmcv_ops.table import spec_of_others

NOISY = ("mmdet.datasets", "mmdet.datasets.transforms")
LINE = "Could not import OneDL"


class _QuietLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                self.loader.exec_module(module)
        finally:
            for line in printed.getvalue().splitlines():
                if not line.startswith(LINE):
                    print(line)


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in NOISY:
            return None
        spec = spec_of_others(self, name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


def install() -> None:
    """Silences the line from now on, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
