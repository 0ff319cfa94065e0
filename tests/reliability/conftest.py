"""What the campaign's programs share: a small detector, and the table that the long form leaves behind."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.classification.conftest import checkpoint  # noqa: F401  (a fixture)
from tests.detection.conftest import glyph_run  # noqa: F401  (a fixture)

SHORT = 1  # seeds of the generators in `make test`


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that take a `seed` have the first ones in `make test`; in the campaign as many as REPMET_SEEDS says, and those
    that kill as REPMET_KILLS says."""
    if "seed" in metafunc.fixturenames:
        number = "REPMET_KILLS" if metafunc.module.__name__.endswith("test_kills") else "REPMET_SEEDS"
        seeds = range(int(os.environ.get(number, SHORT)))
        marks = [() if seed < SHORT else pytest.mark.campaign for seed in seeds]
        metafunc.parametrize("seed", [pytest.param(seed, marks=mark) for seed, mark in zip(seeds, marks, strict=True)])


@pytest.fixture(scope="session")
def outcomes() -> Iterator[Counter]:
    """How often what ended how, by (case, command, outcome); with REPMET_CAMPAIGN written there for the table in docs/."""
    counts: Counter = Counter()
    yield counts
    if (path := os.environ.get("REPMET_CAMPAIGN")) and counts:
        from repmet.experiments.running.provenance import git_revision, processor, versions

        rows: dict[tuple[str, str], dict] = {}
        for (case, command, outcome), number in sorted(counts.items()):
            row = rows.setdefault((case, command), {"case": case, "command": command})
            row[outcome] = {"mean": number}
        for row in rows.values():
            row |= {outcome: {"mean": 0} for outcome in ("right", "refused") if outcome not in row}
        said = " ".join(f"{name}={os.environ.get(name, SHORT)}" for name in ("REPMET_SEEDS", "REPMET_KILLS"))
        command = f"{said} REPMET_CAMPAIGN={path} python -m pytest tests/reliability -m 'campaign or not campaign'"
        facts = {"git": git_revision(), "command": command, "versions": versions(), "machine": processor()}
        content = {"protocol": "reliability", "rows": list(rows.values()), **facts}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(content, indent=1) + "\n")


@pytest.fixture(scope="session")
def detector(glyph_run: Path):  # noqa: F811
    """One detector for all calls of a command."""
    from repmet.detection.few_shot_detector import FewShotDetector

    return FewShotDetector(glyph_run)
