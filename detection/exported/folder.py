"""The folder of an exported detector: a graph, and `detector.json`, which says what it takes and what it was made of."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from repmet.detection.scoring.rule import FewShotRule
from repmet.graph_folder import check_graph, damaged, read_description, write_description

FORMAT = "repmet-export-1"
FACTS = "detector.json"


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


def write_facts(facts: ExportedFacts, folder: str | Path) -> None:
    """Writes `detector.json`, last of all: a folder without it is none."""
    write_description(Path(folder) / FACTS, FORMAT, asdict(facts))


def read_facts(folder: str | Path) -> ExportedFacts:
    """Reads `detector.json` and makes sure that the graph beside it is the one that it was written for.

    Raises:
        FileNotFoundError: no such folder, or one without it or its graph.
        ValueError: it is damaged, of another format, or the graph is another one.
    """
    path = Path(folder) / FACTS
    content = read_description(path, FORMAT, "detector")
    try:
        values = {f.name: content[f.name] for f in fields(ExportedFacts)}
        lists = {name: tuple(values[name]) for name in ("classes", "mean", "std")}
        facts = ExportedFacts(**values | lists | {"rule": FewShotRule(**values["rule"])})
    except (KeyError, TypeError) as error:
        raise damaged(path, error, "detector") from None
    check_graph(path, facts.graph, facts.sha256, "detector")
    return facts
