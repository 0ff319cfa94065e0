"""How good `repmet classify --several` is on images of several classes each: COCO, of which one part shows the classes.

    python -m benchmarks.several_labels coco609 --out several_labels.json

A folder holds `instances.json` of COCO's format, whose images name their part in `coco_split`; those of train2017 show the
classes, those of val2017 are asked about. Figures: the mean over the classes of the average precision; the calibration error
of all decisions (15 bins) and their loss, -ln p, beside that of the classes' shares alone; precision and recall from a
probability of 1/2 on. Beside it logistic regression of each class on the same embeddings (scikit-learn, C = 10).
"""

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss

from repmet.benchmarks.embedded_folders import folder_of
from repmet.classification.array_head import Floats
from repmet.classification.few_shot_classifier import FewShotClassifier
from repmet.classification.several_labels import several_heads
from repmet.data.files.atomic import write_json
from repmet.errors import UserError, exit_code
from repmet.experiments.running.provenance import origin

Members = NDArray[np.bool_]
BINS = 15
PARTS = ("train2017", "val2017")
C = 10.0


def read(folder: Path) -> tuple[list[Path], Members, NDArray[np.bool_], list[str]]:
    """Files, whether each shows a class (n, N), whether it is of the part that shows them, and the classes."""
    file = folder / "instances.json"
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; it says what the images of {folder} show")
    content = json.loads(file.read_text(encoding="utf-8"))
    places = {image["id"]: k for k, image in enumerate(content["images"])}
    numbers = {category["id"]: c for c, category in enumerate(content["categories"])}
    members = np.zeros((len(places), len(numbers)), bool)
    for box in content["annotations"]:
        members[places[box["image_id"]], numbers[box["category_id"]]] = True
    files = [folder / "images" / image["file_name"] for image in content["images"]]
    shown = np.array([image.get("coco_split") == PARTS[0] for image in content["images"]])
    if not shown.any() or shown.all():
        raise UserError(f"{file}: the images' coco_split is {' or '.join(PARTS)}, and there are some of both")
    return files, members, shown, [category["name"] for category in content["categories"]]


def logistic(support: Floats, members: Members, queries: Floats) -> Floats:
    columns = []
    for c in range(members.shape[1]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its penalty's name, which changes between versions
            fit = LogisticRegression(C=C, max_iter=1000).fit(support, members[:, c])
        columns.append(fit.predict_proba(queries)[:, 1])
    return np.stack(columns, 1)


def figures(probabilities: Floats, truth: Members, shares: Floats) -> dict[str, dict[str, float]]:
    """Of probabilities (n, N) and what is shown (n, N); `shares` (N,) of the classes in what showed them."""
    asked = truth.any(0)  # an average precision takes an image that shows the class
    precisions = [average_precision_score(truth[:, c], probabilities[:, c]) for c in np.flatnonzero(asked)]
    flat, right = probabilities.ravel().astype(float), truth.ravel()
    bins = np.minimum((flat * BINS).astype(int), BINS - 1)
    gaps = [abs(right[bins == b].sum() - flat[bins == b].sum()) for b in np.unique(bins)]
    said = flat >= 0.5
    values = {
        "map": np.mean(precisions),
        "ece": sum(gaps) / len(flat),
        "loss": log_loss(right, flat),
        "loss_shares": log_loss(right, np.broadcast_to(shares, truth.shape).ravel().astype(float)),
        "precision": right[said].mean() if said.any() else 0.0,
        "recall": said[right].mean(),
    }
    return {name: {"mean": float(value)} for name, value in values.items()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.several_labels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="FOLDER", help="as named or in REPMET_DATA")
    parser.add_argument("--encoder", help="as `repmet classify` takes it (default: a frozen EfficientNet-Lite0)")
    parser.add_argument("--out", type=Path, metavar="FILE")
    args = parser.parse_args(argv)

    def command() -> None:
        files, members, shown, names = read(folder_of(args.folder))
        taught = members[shown].sum(0) >= 2  # a class of a single image has none to leave out
        members, classes = members[:, taught], tuple(np.array(names)[taught].tolist())
        embeddings = FewShotClassifier(args.encoder).embed(files).numpy()
        support, queries, truth = embeddings[shown], embeddings[~shown], members[~shown]
        answers = {
            "RepMet": several_heads(support, members[shown], classes, 1).probabilities(queries),
            "logistic regression, scikit-learn": logistic(support, members[shown], queries),
        }
        about = {"set": Path(args.folder).name, "classes": len(classes), "images": int(shown.sum())}
        shares = members[shown].mean(0)
        rows = [about | {"method": name} | figures(p, truth, shares) for name, p in answers.items()]
        for row in rows:
            print(row["method"], ", ".join(f"{k} {100 * row[k]['mean']:.1f}" for k in row if isinstance(row[k], dict)))
        if args.out:
            write_json(args.out, origin() | {"protocol": "several labels", "rows": rows})

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
