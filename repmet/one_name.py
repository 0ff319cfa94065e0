"""One module under one name: in a checkout `detection.train` is `repmet.detection.train`, however it is imported.

The trees lie at the top of a checkout and `python -m detection.train` runs there, while everything imports itself as
`repmet.detection`. Loaded under both names, a module would register its classes twice and two equal types would differ.
"""

import importlib
import sys
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType


class _Loader(Loader):
    """Loads nothing: the module of the full name takes the place of the one that was to be made."""

    def __init__(self, full: ModuleSpec) -> None:
        self.full = full

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(self.full.name)

    def get_code(self, name: str) -> CodeType | None:
        """What `python -m` runs as `__main__`."""
        loader = self.full.loader
        return loader.get_code(self.full.name) if isinstance(loader, InspectLoader) else None


class _Finder(MetaPathFinder):
    def __init__(self, tree: str) -> None:
        self.tree = tree

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(f"{self.tree}."):
            return None
        full = find_spec(f"repmet.{name}")
        if full is None:
            return None
        package = full.submodule_search_locations is not None
        return ModuleSpec(name, _Loader(full), origin=full.origin, is_package=package)


def unify(tree: str) -> None:
    """Makes `tree` and what is below it names of `repmet.<tree>`; called while `tree` is being imported."""
    sys.modules[tree] = importlib.import_module(f"repmet.{tree}")
    sys.meta_path.insert(0, _Finder(tree))
