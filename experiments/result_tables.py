"""The tables of measured results: one function a table, made from the JSON files that runs and benchmarks write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

METHODS = {
    "repmet": "RepMet",
    "baseline_untrained": "nearest support, untrained head",
    "baseline_roi": "nearest support, RoI features",
    "np_repmet": "NP-RepMet",
    "calibrated": "RepMet, calibrated by RoI features",
    "baseline_ft": "new last layer",
    "tfa_cosine": "new last layer, cosine (TFA)",
    "repmet_finetuned": "RepMet",  # its protocol says that it was fine-tuned
}
FIGURES = {
    "repmet_pooled": "Pooled AP (RepMet's protocol) [95 % interval where measured]",
    "pooled_ap": "Pooled AP, greedy matching",
    "class_map": "Mean AP over classes",
    "episode_map": "Mean AP over episodes [95 % interval]",
    "recall": "Recall",
    "pooled_difference": "Pooled AP minus RepMet's on the same episodes [95 % interval]",
    "difference": "Mean AP over episodes minus RepMet's on the same ones [95 % interval]",
}
INTERVALS = {
    "repmet_pooled": "repmet_pooled_ci95",
    "episode_map": "episode_map_ci95",
    "pooled_difference": "pooled_ci95",
    "difference": "ci95",
}
NOTHING = "*Nothing measured yet.*"


class Result(NamedTuple):
    """One JSON file of results: its name, without the ending, and its content."""

    name: str
    content: Mapping[str, Any]


class Table(NamedTuple):
    """`reads` tells whether a file's content is of the table's kind; `render` makes markdown of all that are."""

    reads: Callable[[Mapping[str, Any]], bool]
    render: Callable[[Sequence[Result]], str]


TABLES: dict[str, Table] = {}


def table(name: str, *, reads: Callable[[Mapping[str, Any]], bool]) -> Callable:
    """Registers a function from results to markdown as the table of a marker's name."""

    def register(render: Callable[[Sequence[Result]], str]) -> Callable[[Sequence[Result]], str]:
        TABLES[name] = Table(reads, render)
        return render

    return register


def is_detection(content: Mapping[str, Any]) -> bool:
    """Whether this is a `metrics.json` of detection."""
    return "experiment" in content and rows_have(content, "protocol")


def rows_have(content: Mapping[str, Any], key: str) -> bool:
    """Whether every row of `results` has this key."""
    rows = content.get("results")
    return isinstance(rows, list) and all(isinstance(row, dict) and key in row for row in rows)


@table("detection-few-shot", reads=is_detection)
def few_shot(results: Sequence[Result]) -> str:
    """All figures, a table each: rows experiment, protocol and method, columns shots."""
    rows, shots = _few_shot_rows(results)
    parts = []
    for figure, title in FIGURES.items():
        if not _measured(rows, figure):
            continue
        body = [[*row, *(_figure(cells.get(shot), figure) for shot in shots)] for row, cells in rows.items()]
        parts.append(
            f"**{title}**, %\n\n" + markdown([*_ROW_HEAD, *(f"{shot}-shot" for shot in shots)], body, len(_ROW_HEAD))
        )
    return "\n\n".join(parts) if rows else NOTHING


@table("detection-few-shot-summary", reads=is_detection)
def few_shot_summary(results: Sequence[Result]) -> str:
    """The published protocol's figure, the mean over episodes with its interval, and its paired difference to RepMet's."""
    rows, shots = _few_shot_rows(results)
    pooled = "pooled AP" + (" [95 %]" if _measured(rows, INTERVALS["repmet_pooled"]) else "")
    short = {"repmet_pooled": pooled, "episode_map": "episode mAP [95 %]"}
    if _measured(rows, "difference"):
        short |= {"difference": "difference to RepMet [95 %]"}
    columns = [(shot, figure) for shot in shots for figure in short]
    body = [[*row, *(_figure(cells.get(shot), figure) for shot, figure in columns)] for row, cells in rows.items()]
    head = [*_ROW_HEAD, *(f"{shot}-shot {short[figure]}" for shot, figure in columns)]
    return markdown(head, body, len(_ROW_HEAD))


@table("detection-base", reads=is_detection)
def base(results: Sequence[Result]) -> str:
    """AP on the classes that a detector was trained on."""
    body = []
    for result in results:
        if found := result.content.get("base"):
            row = [result.content["experiment"], *(_percent(found.get(name)) for name in ("voc07", "voc", "coco"))]
            body += [] if row in body else [row]  # one detector may be scored by several rules
    return markdown(["experiment", "VOC07 AP50, %", "AP50, %", "COCO AP, %"], body, 1)


@table("training", reads=is_detection)
def training(results: Sequence[Result]) -> str:
    """What the training behind the figures took."""
    body = []
    for result in results:
        if made := result.content.get("training"):
            counts = [count(made.get("images")), count(made.get("epochs"))]
            machine = str(made.get("machine", ""))
            row = [result.content["experiment"], *counts, duration(made.get("seconds")), machine]
            body += [] if row in body else [row]  # one detector may be scored by several rules
    return markdown(["experiment", "images", "epochs", "time", "machine"], body, 1, left_from=4)


_ROW_HEAD = ("experiment", "protocol", "method")


def _few_shot_rows(results: Sequence[Result]) -> tuple[dict[tuple[str, str, str], dict[int, Mapping]], list[int]]:
    """By experiment, protocol and method the result of every shot; and the shots there are.

    Raises:
        ValueError: two files give one result.
    """
    rows: dict[tuple[str, str, str], dict[int, Mapping]] = {}
    origin: dict[tuple, str] = {}
    for result in results:
        paired = {(row["method"], row["shot"]): row for row in result.content.get("differences") or []}
        for entry in result.content["results"]:
            protocol = entry["protocol"]
            method = METHODS.get(entry["method"], entry["method"])
            if protocol.get("finetune"):
                method += ", fine-tuned"
            episodes = f"{protocol['way']}-way, {protocol['query']} queries, {protocol['episodes']} episodes"
            episodes += _beside_repmet(result.content.get("rule") or {})
            key = (result.content["experiment"], episodes, method)
            if protocol["shot"] in rows.setdefault(key, {}):
                first = origin[(*key, protocol["shot"])]
                raise ValueError(
                    f"{first}.json and {result.name}.json both hold {protocol['shot']}-shot {method} of {key[0]} "
                    f"({episodes}): keep one"
                )
            rows[key][protocol["shot"]] = {**(paired.get((entry["method"], protocol["shot"])) or {}), **entry}
            origin[(*key, protocol["shot"])] = result.name
    return rows, sorted({shot for cells in rows.values() for shot in cells})


def _beside_repmet(rule: Mapping) -> str:
    """What the rule adds to the published one: figures of one rule are not those of another."""
    views = rule.get("support_views", 1)
    said = {
        "with objectness": rule.get("objectness"),
        f"{views} views of a support": views > 1,
        "base classes compete": rule.get("base_columns"),
    }
    return "".join(f", {text}" for text, holds in said.items() if holds)


def _measured(rows: Mapping[Any, Mapping[int, Mapping]], figure: str) -> bool:
    return any(cell.get(figure) is not None for cells in rows.values() for cell in cells.values())


def _figure(entry: Mapping | None, figure: str) -> str:
    """A figure in percent with its interval, where it has one; a difference with its sign."""
    if entry is None or entry.get(figure) is None:
        return "–"
    text = f"{100 * entry[figure]:{'+' if 'difference' in figure else ''}.1f}"
    interval = entry.get(INTERVALS.get(figure, ""))
    return text if interval is None else f"{text} [{', '.join(map(_percent, interval))}]"


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def count(number: float | None) -> str:
    """With thousands set apart."""
    return "–" if number is None else f"{number:,}"


def duration(seconds: float | None) -> str:
    """Minutes, from an hour on hours and minutes."""
    if seconds is None:
        return "–"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{seconds / 60:.1f} min"


def markdown(head: Sequence[str], body: Sequence[Sequence[str]], left: int, *, left_from: int | None = None) -> str:
    """A table whose first `left` columns, and those from `left_from`, are set flush left; the others, numbers, right."""
    if not body:
        return NOTHING
    last = len(head) if left_from is None else left_from
    rule = ["---" if k < left or k >= last else "---:" for k in range(len(head))]
    rows = [[str(cell).replace("|", "\\|") for cell in row] for row in (head, rule, *body)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
