"""The tables of many images and of the faults that tests see, from runs as the commands write them."""

import repmet.benchmarks.tables.scale  # noqa: F401  (registers its tables)
from repmet.benchmarks.tables.formatting import NOTHING
from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.registry import render


def run(protocol: str, *rows: dict):
    lines = [
        {key: value if isinstance(value, str) or key in ABOUT else {"mean": value} for key, value in r.items()} for r in rows
    ]
    content = {"protocol": protocol, "command": "make it", "rows": lines}
    return run_of(content, family="scale", name=protocol, revision="1234567")


ABOUT = ("images", "distinct", "side", "dim", "boxes")


def test_streams_and_sizes() -> None:
    row = {"command": "embed", "images": 20000, "distinct": 100, "side": 32, "runtime": "torch", "images_a_second": 50.123}
    row |= {"peak_mb_early": 800.0, "peak_mb": 812.4, "taken_up": 10000, "bytes_an_image": 5300.2, "seconds": 3.0}
    text = render("stream", [run("stream", row)])
    assert "| embed | torch | 20,000 | 100 | 32 | 50.1 | 800 | 812 | 10,000 | 5,300 |" in text
    text = render("scale-paper", [run("stream", row | {"distinct": 20000})])
    assert "| embed, torch | 10^6 | 5.5 hours | 10.4 minutes | 20 s | 5 |" in text
    assert "| embed, torch | 10^10 | 6.3 years | 72.2 days | 2.3 days | 53,002 |" in text
    assert render("scale-paper", [run("stream", row)]) == "*Nothing measured yet.*"  # of links
    row = {"set": "COCO", "command": "train", "images": 117266, "boxes": 860001, "seconds": 31.4}
    text = render("sizes", [run("sizes", row | {"before_mib": 512.0, "peak_mib": 2048.0})])
    assert "| COCO | train | 117,266 | 860,001 | 31 | 0.50 | 2.00 |" in text


def test_indexes_and_mutation() -> None:
    row = {"images": 1000000, "dim": 64, "index": "HNSW, M 16", "setting": "efSearch 64", "recall": 0.91234}
    text = render("indexes", [run("indexes", row | {"ms_a_query": 0.456, "built_s": 300.0, "mb": 392.0})])
    assert "| 1,000,000 x 64 | HNSW, M 16 | efSearch 64 | 0.912 | 0.46 | 300 | 392 |" in text
    rows = [{"module": name, "mutants": 10, "equivalent": k, "caught": 8} for k, name in enumerate(("b.py", "a.py"))]
    lines = render("mutation", [run("mutation", *rows)]).splitlines()
    assert lines[2:] == ["| a.py | 10 | 1 | 8 | 89 |", "| b.py | 10 | 0 | 8 | 80 |", "| all | 20 | 1 | 16 | 84 |"]


def test_nothing_measured() -> None:
    assert all(render(name, []) == NOTHING for name in ("stream", "sizes", "indexes", "mutation"))
