"""The folder of an exported detector: a graph, and `detector.json`, which says what it takes and what it was made of."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from repmet.data.files.atomic import write_json
from repmet.data.files.digest import sha256_of
from repmet.detection.scoring.rule import FewShotRule
from repmet.errors import UserError

FORMAT = "repmet-export-1"
FACTS = "detector.json"
GRAPHS = {"onnx": "network.onnx", "openvino": "network.xml"}


@dataclass(frozen=True, kw_only=True)
class ExportedFacts:
    """What `detector.json` says.

    Attributes:
        version: of this package, when it was written.
        graph: the graph's file, `network.onnx` or `network.xml` (with `network.bin` beside it).
        sha256: of the graph's weights file: of `network.onnx`, or of `network.bin`.
        opset: of the ONNX operators.
        precision: `float32`, or `int8`.
        detector: SHA-256 of the weights that it was made of, as the files of learnt classes name it.
        method, rule: how classes are learnt and scored, `detection.scoring.rule.FewShotRule`.
        classes: what it finds before it is shown a class.
        size: images are scaled so that they just fit into a square of so many pixels, bilinear as OpenCV does it; RGB.
        mean, std: of the normalisation, which the graph does, as it does the padding to a `multiple` of pixels.
    """

    version: str
    graph: str
    sha256: str
    opset: int
    precision: str
    detector: str
    method: str
    rule: FewShotRule
    classes: tuple[str, ...]
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    multiple: int

    def as_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}


def write_facts(facts: ExportedFacts, folder: str | Path) -> None:
    """Writes `detector.json`, last of all: a folder without it is none."""
    write_json(Path(folder) / FACTS, facts.as_json())


def read_facts(folder: str | Path) -> ExportedFacts:
    """Reads `detector.json` and makes sure that the graph beside it is the one that it was written for.

    Raises:
        FileNotFoundError: no such folder, or one without it or its graph.
        ValueError: it is damaged, of another format, or the graph is another one.
    """
    path = Path(folder) / FACTS
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: no exported detector, it holds no {FACTS}; `repmet export --out {folder}` makes one"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); export the detector again") from None
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise UserError(f"{path}: describes no exported detector of this version ({FORMAT}); export it again")
    try:
        values = {f.name: content[f.name] for f in fields(ExportedFacts)}
        lists = {name: tuple(values[name]) for name in ("classes", "mean", "std")}
        facts = ExportedFacts(**values | lists | {"rule": FewShotRule(**values["rule"])})
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged, {error} is missing or not what it should be; export the detector again") from None
    weights = weights_file(Path(folder) / facts.graph)
    if not weights.is_file():
        raise FileNotFoundError(f"{weights}: no such file, which {FACTS} names; export the detector again")
    if sha256_of(weights) != facts.sha256:
        raise UserError(f"{weights}: not the file that {FACTS} was written with; export the detector again")
    return facts


def weights_file(graph: Path) -> Path:
    """Where a graph's weights are: in itself, or beside it."""
    return graph.with_suffix(".bin") if graph.suffix == ".xml" else graph
