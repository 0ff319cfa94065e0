"""Do the tests see a fault? Each module of `modules.yaml` with one small fault at a time, before its own tests: make mutate

    python -m tests.mutation                                  # all modules, all mutants: hours
    python -m tests.mutation model_definitions/kmeans.py --limit 20
    python -m tests.mutation --limit 12 --out build/mutation/mutation.json

cosmic-ray makes the mutants. Its own runner starts a Python for each and changes the file in place: ten seconds of
imports, and a checkout that is broken meanwhile. Here torch and the like are imported once; each mutant is a forked
process that reads the changed source in the place of the file. A mutant is caught where a test fails or does not end.
`equivalent.yaml` lists those that change nothing that could be asked for, with the reason.
"""

import argparse
import importlib
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

import pytest
import yaml

from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
BEFORE = ("numpy", "scipy.stats", "PIL.Image", "torch", "torchvision", "mmengine.runner", "pytorch_metric_learning.losses")
OF_DETECTION = ("mmdet.apis", "pycocotools.coco", "cv2")
SLOWER = 10  # times the tests' own time, until a mutant counts as one that does not end


class Changed(importlib.machinery.SourceFileLoader):
    """Reads a module from a string in the place of its file."""

    source = ""

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec", dont_inherit=True)


class Finder:
    """Finds one module, changed."""

    def __init__(self, file: Path, source: str) -> None:
        self.file, self.source = file, source

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None or Path(spec.origin) != self.file:
            return None
        loader = Changed(name, spec.origin)
        loader.source = self.source
        return importlib.util.spec_from_file_location(name, spec.origin, loader=loader)


def tried(module: Path, source: str, tests: Sequence[str], seconds: float) -> tuple[bool, float]:
    """Whether the tests pass with a module's source changed, in a process of its own; and how long it took."""
    start = time.monotonic()
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(int(seconds) + 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            sys.meta_path.insert(0, Finder(module, source))
            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # of a browser, of a page: no test here needs them
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore", *tests]))
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0, time.monotonic() - start


def measure(name: str, tests: Sequence[str], equivalent: Sequence[str], limit: int | None, seed: int) -> dict:
    """A row: how many mutants of a module there were, are equivalent, and were caught; the others are printed."""
    module = ROOT / name
    source = module.read_text(encoding="utf-8")
    passed, seconds = tried(module, source, tests, 600)
    if not passed:
        raise SystemExit(f"{name}: its tests fail without any fault: {' '.join(tests)}")
    drawn = mutants(source, limit, seed)
    asked: list[Mutant] = [mutant for mutant in drawn if str(mutant) not in equivalent]
    survived = [m for m in asked if tried(module, m.source, tests, SLOWER * seconds + 20)[0]]
    for mutant in survived:
        print(f"    survived: {mutant}", flush=True)
    print(f"{name}: {len(asked) - len(survived)} of {len(asked)} caught, {len(drawn) - len(asked)} equivalent", flush=True)
    counts = {"mutants": len(drawn), "equivalent": len(drawn) - len(asked), "caught": len(asked) - len(survived)}
    return {"module": name, **{metric: {"mean": count} for metric, count in counts.items()}}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    listed = yaml.safe_load((HERE / "modules.yaml").read_text())
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="of modules.yaml (default: all)")
    parser.add_argument("--limit", type=int, metavar="N", help="mutants of a module, drawn by seed (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of that draw (default: 0, which tests were written after)")
    parser.add_argument("--out", metavar="FILE", help="also write the counts there")
    args = parser.parse_args()
    if unknown := set(args.modules) - set(listed):
        parser.error(f"modules.yaml does not list {', '.join(sorted(unknown))}")
    equivalent = yaml.safe_load((HERE / "equivalent.yaml").read_text()) or {}
    os.chdir(ROOT)
    names = args.modules or list(listed)
    for package in (*BEFORE, *(OF_DETECTION if any(name.startswith("detection") for name in names) else ())):
        importlib.import_module(package)
    rows = []
    for name in names:
        reasons = equivalent.get(name) or {}
        rows.append(measure(name, listed[name], list(reasons), args.limit, args.seed))
    counts = {key: sum(row[key]["mean"] for row in rows) for key in ("mutants", "equivalent", "caught")}
    asked = counts["mutants"] - counts["equivalent"]
    print(f"{counts['caught']} of {asked} caught ({100 * counts['caught'] / max(asked, 1):.0f} %)")
    if args.out:
        from repmet.experiments.running.provenance import git_revision, processor, versions

        limit = "" if args.limit is None else f" --limit {args.limit} --seed {args.seed}"
        command = f"PYTHONPATH=build/cosmic-ray python -m tests.mutation{limit}"
        about = {"git": git_revision(), "command": command, "versions": versions(), "machine": processor()}
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps({"protocol": "mutation", "rows": rows, **about}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
