"""The folder of an exported classifier: a graph, and `classifier.json`, which says what it takes and what it was made of."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from repmet.graph_folder import check_graph, damaged, read_description, write_description

FORMAT = "repmet-exported-classifier-1"
FACTS = "classifier.json"


@dataclass(frozen=True, kw_only=True)
class ClassifierFacts:
    """What `classifier.json` says.

    Attributes:
        version: of this package, when it was written.
        graph: the graph's file, `network.onnx` or `network.xml` (with `network.bin` beside it).
        sha256: of the graph's weights file: of `network.onnx`, or of `network.bin`.
        opset: of the ONNX operators.
        digest: SHA-256 of the weights that it was made of, as the files of learnt classes name it.
        source: what opens the encoder in torch: its section, or a checkpoint.
        size, channels: (H, W) and C of the pictures, RGB or grey, scaled to cover it, bilinear as Pillow does it, and
            cropped at the centre. Normalisation is in the graph.
        dim: e, of the embeddings.
        sigma: standard deviation of the class posterior that the encoder was trained by, where it was.
    """

    version: str
    graph: str
    sha256: str
    opset: int
    digest: str
    source: Any
    size: tuple[int, int]
    channels: int
    dim: int
    sigma: float | None


def is_exported(folder: str | Path) -> bool:
    """Whether a folder holds an exported classifier."""
    return (Path(folder) / FACTS).is_file()


def write_facts(facts: ClassifierFacts, folder: str | Path) -> None:
    """Writes `classifier.json`, last of all: a folder without it is none."""
    write_description(Path(folder) / FACTS, FORMAT, asdict(facts))


def read_facts(folder: str | Path) -> ClassifierFacts:
    """Reads `classifier.json` and makes sure that the graph beside it is the one that it was written for.

    Raises:
        FileNotFoundError: no such folder, or one without it or its graph.
        ValueError: it is damaged, of another format, or the graph is another one.
    """
    path = Path(folder) / FACTS
    content = read_description(path, FORMAT, "classifier")
    try:
        values = {f.name: content[f.name] for f in fields(ClassifierFacts)}
        height, width = values["size"]
        facts = ClassifierFacts(**values | {"size": (int(height), int(width))})
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, error, "classifier") from None
    check_graph(path, facts.graph, facts.sha256, "classifier")
    return facts
