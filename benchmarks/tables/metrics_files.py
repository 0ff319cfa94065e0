"""What the commands write (metrics.json, retrieval.json, a benchmark's JSON) as a run with rows of the one schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from repmet.benchmarks.tables.runs import Run
from repmet.errors import UserError

Content = Mapping[str, Any]
Row = dict[str, Any]

# By protocol: the kind of its rows, and the keys that say what a row is of.
_FLAT = {
    "score quality": ("score_quality", ("set", "method", "marks", "draws")),
    "least threshold": ("thresholds", ("set", "marks", "shown", "least", "quantile", "draws")),
    "negatives": ("negatives", ("experiment", "shot", "scores", "episodes")),
    "distil": ("distil", ("set", "detector", "marks", "accept", "images")),
    "reliability": ("reliability", ("case", "command")),
    "mutation": ("mutation", ("module",)),
    "stream": ("stream", ("command", "images", "distinct", "side", "runtime")),
    "sizes": ("sizes", ("set", "command", "images", "boxes")),
    "indexes": ("indexes", ("images", "dim", "index", "setting")),
    "few-shot images": ("few_shot_images", ("set", "head", "way", "shot")),
    "mislabelled": ("mislabelled", ("set", "images", "share", "draws")),
    "several labels": ("several_labels", ("set", "method", "classes", "images")),
    "few-shot heads": ("few_shot_heads", ("set", "method", "shot", "draws")),
    "simulated user": ("clicks", ("set", "policy", "clicks", "draws")),
}
_COMMON = ("experiment", "seed", "sha256", "machine", "versions", "seconds", "training", "rule")


def run_of(content: Content, *, family: str, name: str, revision: str, commands: Sequence[str] = ()) -> Run:
    """The run that a file tells of.

    Args:
        content: of the file. family, name: where it is to be kept. revision: of the code.
        commands: that make it again; those that the file itself names if there are none.

    Raises:
        ValueError: the file is none of ours.
    """
    if not isinstance(content, dict):
        raise UserError(f"{name}: the JSON of a result is a mapping, not {type(content).__name__}")
    about = {key: content[key] for key in _COMMON if content.get(key) is not None}
    if content.get("checkpoint"):
        about["checkpoint"] = "/".join(PurePath(content["checkpoint"]).parts[-2:])
    commands = list(commands) or [content[key] for key in ("command", "evaluated_by") if content.get(key)]
    try:
        about |= _about(content)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{name}: does not fit what our commands write: {reason}") from error
    return Run(family=family, name=name, revision=revision, commands=commands, **about)


def _about(content: Content) -> dict[str, Any]:
    rows = content.get("results")
    if "cost_differences" in content:
        return {"rows": {"cost_differences": [{"metric": "average cost", **row} for row in content["cost_differences"]]}}
    if content.get("protocol") == "own data":
        marked = [row for of in content["sets"] for line in of["rows"] for row in _own_data_rows(line)]
        reached = [row for of in content["sets"] for row in _proposal_rows(of)]
        return {"rows": {"own_data": marked, "proposals": reached}}
    if content.get("protocol") == "mark quality":
        kinds = {"faults": ("rows", ("set", "marks", "draws")), "chosen": ("chosen", ("set", "images", "draws"))}
        return {
            "rows": {k: [row for line in content[key] for row in _flat_rows(line, of)] for k, (key, of) in kinds.items()}
        }
    if (protocol := content.get("protocol")) in _FLAT:
        kind, about = _FLAT[protocol]
        return {"rows": {kind: [row for line in content["rows"] for row in _flat_rows(line, about)]}}
    if "parity" in content:
        env = {key: value for key, value in content["env"].items() if key not in ("git", "versions")}
        figures = [row for entry in content["parity"] for row in _parity_rows(entry)]
        return {"rows": {"parity": figures}, "environment": env, "versions": content["env"].get("versions") or {}}
    if "page" in content and "person" in content:
        env = {key: value for key, value in content["env"].items() if key not in ("git", "versions")}
        rows = {key: [row for line in content[key] for row in _plain_rows(line)] for key in ("page", "person")}
        return {"rows": rows, "environment": env, "versions": content["env"].get("versions") or {}}
    if "tiles" in content:
        env = {key: value for key, value in content["env"].items() if key not in ("git", "versions")}
        figures = [row for entry in content["tiles"] for row in _tile_rows(entry)]
        return {"rows": {"tiles": figures}, "environment": env, "versions": content["env"].get("versions") or {}}
    if "env" in content and isinstance(rows, list):
        env = {key: value for key, value in content["env"].items() if key not in ("git", "versions")}
        timings = [row for entry in rows for row in _timing_rows(entry)]
        return {"rows": {"timings": timings}, "environment": env, "versions": content["env"].get("versions") or {}}
    if "experiment" in content and isinstance(rows, list):
        if "risk_coverage" in content:
            return {"rows": {"retrieval": rows}, "curves": {"risk_coverage": content["risk_coverage"]}}
        if rows and all("dataset" in row and "metric" in row for row in rows):
            kinds = {"accuracies": rows, "costs": content.get("costs"), "paired": content.get("paired")}
            return {"rows": {kind: of for kind, of in kinds.items() if of}, "episodes": content.get("episodes") or ()}
        return _detection(content)
    raise UserError("neither a metrics.json (experiment, results) nor a benchmark (env, results) nor cost differences")


def _detection(content: Content) -> dict[str, Any]:
    """Episodes, lists of shots and base classes; the episodes' protocols apart from the figures, one a number of shots."""
    protocols = {row["protocol"]["shot"]: row["protocol"] for row in content["results"]}
    kinds = {
        "few_shot": [r for row in content["results"] for r in _few_shot_rows(row)],
        "few_shot_differences": [r for row in content.get("differences") or () for r in _difference_rows(row)],
        "shot_lists": [r for row in content.get("k_shot") or () for r in _shot_list_rows(row)],
        "base_classes": [{"metric": metric, "mean": mean} for metric, mean in (content.get("base") or {}).items()],
    }
    episodes = [{key: value for key, value in p.items() if key != "finetune"} for p in protocols.values()]
    return {"rows": {kind: rows for kind, rows in kinds.items() if rows}, "episodes": episodes}


def _few_shot_rows(row: Content) -> Iterator[Row]:
    of = {"method": row["method"], "shot": row["protocol"]["shot"], "finetune": row["protocol"].get("finetune", False)}
    if row.get("skipped_episodes"):
        of["skipped_episodes"] = row["skipped_episodes"]
    figures = {key: value for key, value in row.items() if key not in ("protocol", "method", "skipped_episodes", "counts")}
    for metric, mean in (figures | (row.get("counts") or {})).items():
        if not metric.endswith("_ci95"):
            yield of | {"metric": metric, "mean": mean} | _interval(row.get(f"{metric}_ci95"))


def _difference_rows(row: Content) -> Iterator[Row]:
    of = {"method": row["method"], "shot": row["shot"], "against": row["reference"]}
    yield of | {"metric": "difference", "mean": row["difference"], "ci95": row["ci95"], "n": row["episodes"]}
    if "pooled_difference" in row:
        yield of | {"metric": "pooled_difference", "mean": row["pooled_difference"], "ci95": row["pooled_ci95"]}


def _shot_list_rows(row: Content) -> Iterator[Row]:
    of = {"method": row["method"], "shot": row["shot"], "seeds": row["seeds"]}
    for metric, figure in row.items():
        if metric not in of:
            yield of | {"metric": metric, **figure}


def _own_data_rows(row: Content) -> Iterator[Row]:
    of = {key: row[key] for key in ("set", "method", "marks", "draws")}
    yield from (of | {"metric": metric, **row[metric]} for metric in ("AP50", "AP", "false_finds"))
    if "AP50_above_first" in row:
        yield of | {
            "metric": "AP50_above_first",
            **row["AP50_above_first"],
            "against": row.get("against", "the first method"),
        }


def _flat_rows(row: Content, about: Sequence[str]) -> Iterator[Row]:
    """A figure a key whose value is one; what was not to be measured is left out."""
    of = {key: row[key] for key in about}
    yield from (of | {"metric": metric, **figure} for metric, figure in row.items() if metric not in of and figure)


def _plain_rows(row: Content) -> Iterator[Row]:
    of = {key: row[key] for key in ("set", "images")}
    yield from (of | {"metric": metric, "mean": mean} for metric, mean in row.items() if metric not in of)


def _proposal_rows(row: Content) -> Iterator[Row]:
    of = {"set": row["set"], "images": row["images"]}
    yield from (of | {"metric": metric, "mean": mean} for metric, mean in row["proposals"].items() if mean is not None)


def _timing_rows(row: Content) -> Iterator[Row]:
    of = {"case": row["case"], "against": row["peer"]}
    yield of | {"metric": "ratio", "mean": row["ratio"]} | ({} if row.get("iqr") is None else {"spread": row["iqr"]})
    for metric, mean in row.items():
        if metric not in ("case", "peer", "ratio", "iqr"):
            yield of | {"metric": metric, "mean": mean}


def _parity_rows(row: Content) -> Iterator[Row]:
    of = {key: row[key] for key in ("runtime", "set", "marks", "images", "draws") if key in row}
    yield from (of | {"metric": metric, "mean": mean} for metric, mean in row.items() if metric not in of)


def _tile_rows(row: Content) -> Iterator[Row]:
    of = {key: row[key] for key in ("set", "tile", "marks", "images")}
    yield of | {"side": row["side"], "metric": "milliseconds", "mean": row["milliseconds"]}
    for size, value in row["ap50"].items():
        if value is not None:
            yield of | {"objects": row["objects"][size], "metric": f"ap50_{size}", "mean": value}


def _interval(ci95: Any) -> Row:
    return {} if ci95 is None else {"ci95": ci95}
