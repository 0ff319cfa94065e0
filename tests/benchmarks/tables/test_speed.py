"""The tables of side-by-side measurements."""

from repmet.benchmarks.tables.pages import render
from tests.benchmarks.tables.conftest import BENCHMARK, REVISION, kept


def table(name: str, *rows: dict, run: str = "roi") -> str:
    return render(name, [kept(run, BENCHMARK | ({"results": list(rows)} if rows else {}))])


def test_cases_and_the_machine():
    text = table("benchmarks")
    assert f"**roi** (revision {REVISION}, device x86, threads 2)" in text
    assert "| a\\|b | 16 | torchvision | 208 | 12.97x | 12.10 to 13.50 |" in text


def test_the_summary():
    rows = [
        {"case": c, "ours_ms": 1, "peer": p, "peer_ms": 1, "ratio": r}
        for c, p, r in (("a", "x", 4), ("b", "x", 9), ("c", "y", 2))
    ]
    lines = table("benchmarks-summary", *rows).splitlines()
    assert lines[2:] == ["| roi | x | 2 | 6.00x | 4.00x | 9.00x |", "| roi | y | 1 | 2.00x | 2.00x | 2.00x |"]


def test_a_case_against_two_peers_has_two_lines():
    rows = [{"case": "a", "ours_ms": 1.0, "peer": p, "peer_ms": t, "ratio": t} for p, t in (("x", 3.0), ("y", 4.0))]
    text = table("benchmarks", *rows)
    assert "| a | 1 | x | 3 | 3.00x | – |" in text and "| a | 1 | y | 4 | 4.00x | – |" in text


def test_a_benchmark_that_counts_images_shows_their_rate_and_memory_where_it_was_measured():
    row = {"case": "step", "ours_ms": 500.0, "peer": "torchvision", "peer_ms": 800.0, "ratio": 1.6, "iqr": 0.1, "images": 8}
    text = table("benchmarks", row)
    assert "| case | ours, images/s | peer | peer, images/s | ratio | spread |" in text
    assert "| step | 16 | torchvision | 10 | 1.60x | 0.10 |" in text
    text = table("benchmarks", row | {"ours_mib": 512.0, "peer_mib": 1024.0}, row | {"case": "other"})
    assert "| ratio | spread | ours, MiB | peer, MiB |" in text
    assert "| 1.60x | 0.10 | 512 | 1,024 |" in text and "| 1.60x | 0.10 | – | – |" in text


def test_long_times_have_no_exponent():
    row = {"case": "c", "ours_ms": 1234.5, "peer": "p", "peer_ms": 1_234_567.0, "ratio": 1000.0, "iqr": 1.0}
    assert "| c | 1,234 | p | 1,234,567 | 1000.00x | 1.00 |" in table("benchmarks", row)


def test_the_parity_of_an_export_has_a_line_a_set_and_runtime():
    rows = [
        {"runtime": r, "set": "mugs", "marks": 5, "images": 29, "chosen_otherwise": 0.0012, "pixels": 0.00312}
        | {"scores": 2.1e-5, "ap50_torch": 0.5, "ap50": 0.4996}
        for r in ("onnxruntime", "openvino")
    ]
    run = kept("export_parity", {"command": "python -m benchmarks.export_parity", "env": BENCHMARK["env"], "parity": rows})
    text = render("export-parity", [run])
    assert "| mugs | onnxruntime | 29 | 0.12 % | 0.0031 | 0.000021 | 50.0 | 50.0 |" in text
    assert "| mugs | openvino |" in text and render("export-parity", []) == render("benchmarks", [])
