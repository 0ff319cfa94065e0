"""The tables of many images: what streams and large sets take, how indexes find, and what the tests see of small faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repmet.benchmarks.tables.formatting import MISSING, markdown
from repmet.benchmarks.tables.registry import cells_of, table
from repmet.benchmarks.tables.runs import KINDS, Run


@table("stream")
def stream(runs: Sequence[Run]) -> str:
    """A line a run of a command: images a second, the memory early on and at most, what is written, and the machine."""
    body = []
    for (command, images, distinct, side, runtime), of in _lines(runs, "stream"):
        figures = [_number(of, "images_a_second", 1), _number(of, "peak_mb_early"), _number(of, "peak_mb")]
        kept = [_number(of, "taken_up"), _number(of, "bytes_an_image")]
        body.append([command, runtime, f"{int(images):,}", distinct, side, *figures, *kept])
    head = ["command", "runtime", "images", "pictures", "pixels", "images/s", "MB early", "MB at most"]
    return markdown([*head, "kept when killed", "bytes an image"], body, 2)


@table("scale-paper")
def paper(runs: Sequence[Run]) -> str:
    """What 10^6, 10^8 and 10^10 images would take by the rates of different pictures: nothing but a division."""
    body = []
    for (command, images, pictures, _, runtime), of in _lines(runs, "stream"):
        if "images_a_second" not in of or images != pictures:  # of links the network may look at each picture once
            continue
        for power in (6, 8, 10):
            seconds, size = 10**power / of["images_a_second"]["mean"], 10**power * of["bytes_an_image"]["mean"]
            times = [_duration(seconds / threads) for threads in (1, 32, 1000)]
            body.append([f"{command}, {runtime}", f"10^{power}", *times, f"{size / 1e9:,.0f}"])
    head = ["command", "images", "one thread", "a machine of 32", "a cluster of 1,000", "GB of results"]
    return markdown(head, body, 1)


@table("sizes")
def sizes(runs: Sequence[Run]) -> str:
    """A line a set and command: seconds before the first image, and the memory at its beginning and at most."""
    body = [
        [*of[:2], *(f"{int(number):,}" for number in of[2:]), _number(row, "seconds"), *_gigabytes(row)]
        for of, row in _lines(runs, "sizes")
    ]
    return markdown(["set", "command", "images", "boxes", "seconds", "GB with nothing read", "GB at most"], body, 2)


@table("indexes")
def indexes(runs: Sequence[Run]) -> str:
    """A line an index and setting: the share of the ten nearest that it gives, and what it takes."""
    body = []
    for (images, dim, index, setting), of in _lines(runs, "indexes"):
        figures = [f"{of['recall']['mean']:.3f}", _number(of, "ms_a_query", 2), _number(of, "built_s"), _number(of, "mb")]
        body.append([f"{int(images):,} x {dim}", index, setting, *figures])
    return markdown(["embeddings", "index", "setting", "recall@10", "ms a query", "s to build", "MB"], body, 3)


@table("mutation")
def mutation(runs: Sequence[Run]) -> str:
    """A line a module: how many small faults its own tests were put before, and how many they saw."""
    lines = [(of[0], {key: int(row["mean"]) for key, row in rows.items()}) for of, rows in _lines(runs, "mutation")]
    body = [_counts(name, n["mutants"], n["equivalent"], n["caught"]) for name, n in sorted(lines)]
    sums = [sum(n[key] for _, n in lines) for key in ("mutants", "equivalent", "caught")]
    head = ["module", "faults tried", "change nothing", "seen by its tests", "share, %"]
    return markdown(head, [*body, _counts("all", *sums)] if lines else [], 1)


def _counts(name: str, mutants: int, equivalent: int, caught: int) -> list[str]:
    share = 100 * caught / max(mutants - equivalent, 1)
    return [name, str(mutants), str(equivalent), str(caught), f"{share:.0f}"]


def _lines(runs: Sequence[Run], kind: str) -> list[tuple[tuple[str, ...], dict[str, Mapping[str, Any]]]]:
    return list(cells_of(runs, kind, KINDS[kind][0]).items())


def _number(of: Mapping[str, Mapping[str, Any]], metric: str, digits: int = 0) -> str:
    return f"{of[metric]['mean']:,.{digits}f}" if metric in of else MISSING


def _duration(seconds: float) -> str:
    """In the largest unit of which there is at least one."""
    units = (("years", 365.25 * 86400), ("days", 86400), ("hours", 3600), ("minutes", 60))
    for name, length in units:
        if seconds >= length:
            return f"{seconds / length:,.1f} {name}"
    return f"{seconds:.0f} s"


def _gigabytes(of: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [f"{of[metric]['mean'] / 1024:.2f}" for metric in ("before_mib", "peak_mib")]
