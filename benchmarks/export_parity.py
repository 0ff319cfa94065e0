r"""Whether the exported detector finds what the one in torch finds: boxes, scores and AP50 on people's own sets.

    python -m benchmarks.export_parity --data REPMET_DATA/own/* [--images 200] [--marks 5] [--draws 1] \
        [--export DIR ...] [--out FILE]

Of each set some boxes a class are marked and images of the test list looked at, by torch and by each runtime. Boxes and
scores are compared before suppression, score by score, with the same classifier. AP50 is of the detections: there each side
has learnt from the marks by itself.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from repmet.benchmarks.measure import environment
from repmet.data.files.atomic import write_json
from repmet.detection.checkpoint import open_detector
from repmet.detection.embedding.embedded_image import FEATURES, EmbeddedImage
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.embedding.views import with_views
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.export.parity import difference, pairs
from repmet.detection.exported.folder import read_facts
from repmet.detection.exported.look import Seen
from repmet.detection.protocols.own_data import OwnData, figures_of, read_own_data
from repmet.detection.scoring.detections import Detections
from repmet.detection.scoring.methods import Method, spaces_of
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule, few_shot_rule
from repmet.detection.scoring.scorer import ClassScorer
from repmet.errors import exit_code
from repmet.experiments.running.provenance import invocation
from repmet.graph_session import RUNTIMES
from repmet.runtime import FewShotDetector

METHOD = "logistic"


@dataclass(frozen=True)
class Parity:
    """One runtime on one set; shares and scores as fractions.

    `chosen_otherwise`: the share of torch's boxes that the runtime has not; `pixels` and `scores`: the largest difference of
    the others; `ap50_torch`, `ap50`: class means over `draws` of the marks.
    """

    runtime: str
    set: str
    marks: int
    draws: int
    images: int
    chosen_otherwise: float
    pixels: float
    scores: float
    ap50_torch: float
    ap50: float


def compared(
    data: OwnData,
    marks: int,
    draws: int,
    max_images: int,
    embedder: Embedder,
    rule: FewShotRule,
    folders: dict[str, Path],
    threads: int,
) -> Iterator[Parity]:
    """A row for every runtime.

    Args:
        max_images: images of the test list that are looked at, evenly from it.
        folders: by the name of a row, `onnxruntime`, `openvino`, or with ` int8` behind it: the export.
    """
    drawn = [data.marks(marks, seed) for seed in range(draws)]
    records = data.records
    shown = [records[i] for i in dict.fromkeys(i for boxes in drawn for pairs in boxes for i, _ in pairs)]
    queries = data.queries([pairs for boxes in drawn for pairs in boxes])
    queries = [queries[k] for k in np.unique(np.linspace(0, len(queries) - 1, max_images).round().astype(int))]
    embedded = with_views(embedder([*shown, *queries]), shown, embedder, rule.other_looks)
    scorers = [Method(METHOD, rule).learn(SupportSet(data.classes, boxes, records, embedded)) for boxes in drawn]

    def mean_ap50(detections: Sequence[Sequence[Detections]]) -> float:
        return float(np.mean([figures_of(of_draw, queries, data.classes)["AP50"] for of_draw in detections]))

    in_torch = mean_ap50([[scorer.detect([embedded[r.id]])[0] for r in queries] for scorer in scorers])
    for name, folder in folders.items():
        detector = FewShotDetector(folder, runtime=name.split()[0], threads=threads)
        apart = []
        for record in queries:
            seen = detector.exported.look(OpenImage.read(record).pixels)
            apart.append((difference(embedded[record.id], seen), score_difference(scorers[0], embedded[record.id], seen)))
        detections = []
        for boxes in drawn:
            detector.learn(
                {
                    c: [(records[i].path, records[i].boxes[b]) for i, b in pairs]
                    for c, pairs in zip(data.classes, boxes, strict=True)
                }
            )
            detections.append([detector.detect(r.path, min_score=0.0) for r in queries])
        yield Parity(
            runtime=name,
            set=data.name,
            marks=marks,
            draws=draws,
            images=len(queries),
            chosen_otherwise=sum(d.chosen_otherwise for d, _ in apart) / sum(d.boxes for d, _ in apart),
            pixels=max(d.pixels for d, _ in apart),
            scores=max(s for _, s in apart),
            ap50_torch=in_torch,
            ap50=mean_ap50(detections),
        )


def score_difference(scorer: ClassScorer, expected: EmbeddedImage, seen: Seen) -> float:
    """The largest difference of a class's reported score, over the boxes that both have."""
    a, b = pairs(expected.proposals.numpy(), seen.proposals)
    tensors = {name: torch.from_numpy(getattr(seen, name)) for name in ("boxes", "proposals", "objectness", "embeddings")}
    ours = EmbeddedImage(**tensors | {"embeddings": {FEATURES: tensors["embeddings"]}}, annotated={})
    scores = [scorer.rule.reported(scorer.scores(image), image.objectness).numpy() for image in (expected, ours)]
    return float(np.abs(scores[0][a] - scores[1][b]).max(initial=0.0))


def show(rows: Sequence[Parity]) -> None:
    head = f"{'set':<20}{'runtime':<18}{'images':>7}{'other boxes':>13}{'pixels':>10}"
    print(f"{head}{'scores':>10}{'AP50 torch':>12}{'AP50':>8}")
    for r in rows:
        line = f"{r.set:<20}{r.runtime:<18}{r.images:>7}{100 * r.chosen_otherwise:>11.2f} %{r.pixels:>10.4f}"
        print(f"{line}{r.scores:>10.6f}{100 * r.ap50_torch:>12.1f}{100 * r.ap50:>8.1f}", flush=True)


def run(args: argparse.Namespace) -> None:
    sets: list[OwnData] = [read_own_data(root) for root in args.data]
    detector = open_detector()
    rule = few_shot_rule(detector.cfg)
    embedder = Embedder(detector.model, detector.cfg.test_pipeline, spaces=spaces_of([METHOD]), share=False)
    with tempfile.TemporaryDirectory() as scratch:
        exports = args.export
        if not exports:
            exporting = [sys.executable, "-m", "repmet", "export", "--out", scratch]
            subprocess.run(exporting, check=True, cwd=Path(__file__).resolve().parents[1], stdout=subprocess.DEVNULL)
            exports = [scratch]
        folders = {}
        for folder in map(Path, exports):
            facts = read_facts(folder)
            able = RUNTIMES if facts.graph.endswith(".onnx") else ("openvino",)
            quantised = "" if facts.precision == "float32" else f" {facts.precision}"
            folders |= {f"{runtime}{quantised}": folder for runtime in able}
        rows: list[Parity] = []
        for number, data in enumerate(sets):
            images = len(range(number, args.images, len(sets)))
            rows += compared(data, args.marks, args.draws, images, embedder, rule, folders, args.threads)
            show(rows[-len(folders) :])
    if args.out:
        content = {"command": invocation(), "env": environment(), "parity": [asdict(row) for row in rows]}
        write_json(args.out, content)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="annotated folders")
    parser.add_argument(
        "--images", type=int, default=200, metavar="N", help="looked at, of all sets together (default: 200)"
    )
    parser.add_argument("--marks", type=int, default=5, metavar="K", help="marks a class (default: 5)")
    parser.add_argument("--draws", type=int, default=1, metavar="N", help="of the marks, for AP50 (default: 1)")
    parser.add_argument(
        "--export", nargs="+", metavar="DIR", help="what is compared (default: the shipped detector, exported)"
    )
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of the runtimes (default: 2)")
    parser.add_argument("--out", metavar="FILE", help="write the results as JSON")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
