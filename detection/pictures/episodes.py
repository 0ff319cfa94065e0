"""The pictures of an evaluation by episodes: sheets of the best, middling and worst ones, and curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from repmet.data.files.atomic import write_json
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.episodes.episode import Episodes
from repmet.detection.pictures.sheets import QueryPicture, episode_sheet, pick, precision_recall_plot
from repmet.detection.protocols.episodic import Pools, Result
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.representatives import SupportSet


def write_curves(results: Sequence[Result], rows: Sequence[Mapping], folder: Path) -> None:
    """Precision over recall of every method, a picture and a JSON file for each shot."""
    for shot in sorted({r.shot for r in results}):
        curves = {
            row["method"]: result.metric.curves()["repmet_pooled"] | {"ap": row["repmet_pooled"]}
            for result, row in zip(results, rows, strict=True)
            if result.shot == shot
        }
        precision_recall_plot(folder / f"pr_{shot}shot.png", curves, title=f"{shot}-shot, pooled over all episodes")
        write_json(folder / f"pr_{shot}shot.json", curves)


def write_sheets(
    result: Result,
    episodes: Episodes,
    pools: Pools,
    embedded: Mapping[str, EmbeddedImage],
    method: Method,
    folder: Path,
) -> list[Path]:
    """A sheet for the two best, two middling and two worst episodes of one result: supports on top, queries below.

    Args:
        method: by which the result was made.
    """
    maps = result.metric.per_episode()["map"]
    written = []
    for kind, numbers in pick(maps).items():
        for number in numbers:
            episode = episodes.episodes[number]
            shown = SupportSet.of(episode, result.shot, pools.support, embedded)
            by_slot = method.detect(shown, [embedded[image] for _, image in episode.slots])
            queries = []
            for (name, image), detections in zip(episode.slots, by_slot, strict=True):
                r = pools.query[image]
                keep = [k for k, n in enumerate(r.names) if n in episode.classes]
                queries.append(
                    QueryPicture(
                        path=r.path,
                        boxes=r.boxes[keep],
                        labels=np.array([episode.classes.index(r.names[k]) for k in keep]),
                        difficult=r.difficult[keep],
                        detections=detections,
                        listed_under=episode.classes.index(name),
                    )
                )
            supports = [[(pools.support[i].path, pools.support[i].boxes[b]) for i, b in pairs] for pairs in shown.boxes]
            path = folder / f"{result.shot}shot_{kind}_episode{number:03d}.png"
            title = (
                f"{result.method}, {episodes.way}-way {result.shot}-shot, episode {number}: mAP {100 * maps[number]:.0f} %"
            )
            # Two queries a class keep a sheet small enough to be looked at.
            per_class = len(queries) // len(episode.classes)
            on_sheet = [queries[c * per_class + k] for k in range(min(2, per_class)) for c in range(len(episode.classes))]
            episode_sheet(path, title=title, class_names=episode.classes, supports=supports, queries=on_sheet)
            written.append(path)
    return written
