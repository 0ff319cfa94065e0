"""The table of checkpoints that were kept: how to know one, and the command that makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from repmet.experiments.classification_tables import is_classification
from repmet.experiments.result_tables import Result, is_detection, markdown, table


def names_checkpoint(content: Mapping[str, Any]) -> bool:
    """Whether this is a `metrics.json` that says which checkpoint it measured."""
    return (is_classification(content) or is_detection(content)) and bool(content.get("sha256"))


@table("checkpoints", reads=names_checkpoint)
def checkpoints(results: Sequence[Result]) -> str:
    """A row for each checkpoint, however often it was measured."""
    rows: dict[str, list[str]] = {}
    for result in results:
        content = result.content
        file = "/".join(PurePath(content["checkpoint"]).parts[-2:])
        command = f"`{content['command']}`" if content.get("command") else "–"
        rows.setdefault(content["sha256"], [content["experiment"], file, f"`{content['sha256']}`", command])
    return markdown(["experiment", "checkpoint", "SHA-256", "command"], list(rows.values()), 4)
