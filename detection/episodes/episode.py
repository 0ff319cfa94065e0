"""What an episode of few-shot detection is, and the JSON file that fixes a list of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from repmet.data.files.atomic import write_json
from repmet.data.files.text import read_text
from repmet.data.sources.voc import ImageRecord
from repmet.errors import UserError

FORMAT = "repmet-episodes-1"
_SHOWN = 10


@dataclass(frozen=True)
class Episode:
    """Class names, and by class the support boxes as (image id, index among the image's boxes) and query image ids."""

    classes: tuple[str, ...]
    support: Mapping[str, tuple[tuple[str, int], ...]]
    query: Mapping[str, tuple[str, ...]]

    @property
    def slots(self) -> list[tuple[str, str]]:
        """(class, image id) of every query slot, in the order in which slots are numbered; an image may come twice."""
        return [(name, image) for name in self.classes for image in self.query[name]]


@dataclass(frozen=True)
class Episodes:
    """Episodes with what they were drawn from.

    Attributes:
        way, query: classes of an episode, query images of a class.
        shots: numbers of support boxes of a class, rising; every episode holds those of the largest.
        seed: from which they were drawn.
        pools: of `support` and `query`: {"names": image sets, "images": how many, "digest": of their ids}.
    """

    way: int
    shots: tuple[int, ...]
    query: int
    seed: int
    pools: Mapping[str, Mapping[str, Any]]
    episodes: tuple[Episode, ...]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the content."""
        return digest(_content(self))

    def hash_for(self, shot: int) -> str:
        """SHA-256 of what one shot uses: equal for equal pools, classes, queries and first supports, whatever the seed
        or the other shots.

        Raises:
            ValueError: `shot` is none of `shots`.
        """
        if shot not in self.shots:
            raise UserError(f"these episodes are for {self.shots} shots, not for {shot}")
        content = _content(self)
        del content["seed"]
        pools = {role: {k: pool[k] for k in ("images", "digest")} for role, pool in content["pools"].items()}
        for episode in content["episodes"]:
            episode["support"] = {name: boxes[:shot] for name, boxes in episode["support"].items()}
        return digest({**content, "pools": pools, "shots": [shot]})

    def shown_queries(self) -> list[str]:
        """One sentence for each query image that gives its episode a support: what was shown would have to be found."""
        return [
            f"episode {number}: query image {image!r} of {name} gives it a support"
            for number, episode in enumerate(self.episodes)
            for shown in [{image for boxes in episode.support.values() for image, _ in boxes}]
            for name, images in episode.query.items()
            for image in images
            if image in shown
        ]

    def check_against(self, support: Sequence[ImageRecord], query: Sequence[ImageRecord]) -> None:
        """Makes sure that the images and boxes exist.

        Raises:
            ValueError: an image is not in its pool, a support box is not there or not a plain one of its class, or a query
                image holds none: the episodes are of another data set or version. One message.
        """
        records = {"support": {r.id: r for r in support}, "query": {r.id: r for r in query}}
        problems: list[str] = []
        for number, episode in enumerate(self.episodes):
            for name in episode.classes:
                boxes = [("support", image, box) for image, box in episode.support[name]]
                for role, image, box in boxes + [("query", image, None) for image in episode.query[name]]:
                    record = records[role].get(image)
                    plain = [] if record is None else plain_boxes(record, name)
                    if record is None:
                        problems.append(f"episode {number}: the {role} images have no {image!r}")
                    elif box is not None and box not in plain:
                        problems.append(f"episode {number}: box {box} of {image!r} is no plain {name} box")
                    elif not plain:
                        problems.append(f"episode {number}: query image {image!r} holds no plain {name} box")
        if problems:
            made_of = ", ".join(
                f"{pool['images']} {role} images ({'+'.join(pool['names']) or 'unnamed'})"
                for role, pool in self.pools.items()
            )
            raise UserError(
                f"the episodes are of another data set: they were drawn from {made_of}; {len(problems)} of their images or "
                f"boxes are not as they say. Give that data set, or draw new episodes.\n" + listed(problems)
            )


def save_episodes(episodes: Episodes, path: str | Path) -> None:
    """Writes the episodes and their hash as JSON; the file appears whole or not at all."""
    write_json(path, {**_content(episodes), "hash": episodes.hash}, indent=None)


def load_episodes(path: str | Path) -> Episodes:
    """Reads what `save_episodes` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not of this format, or its content does not fit its hash.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of episodes")
    try:
        content = json.loads(read_text(path))
        if content["format"] != FORMAT:
            raise UserError(f"its format is {content['format']!r}")
        stated = content.pop("hash")
        read = Episodes(
            content["way"],
            tuple(content["shots"]),
            content["query"],
            content["seed"],
            content["pools"],
            tuple(
                Episode(
                    tuple(e["classes"]),
                    {name: tuple((image, box) for image, box in e["support"][name]) for name in e["classes"]},
                    {name: tuple(e["query"][name]) for name in e["classes"]},
                )
                for e in content["episodes"]
            ),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{path}: not a file of episodes ({FORMAT}): {reason}") from error
    if digest(content) != stated:
        raise UserError(f"{path}: its content does not fit its hash, it was changed or cut; draw the episodes again")
    return read


def plain_boxes(record: ImageRecord, name: str) -> list[int]:
    """Indices of the boxes of a class in an image that are not difficult."""
    return [
        k for k, (label, hard) in enumerate(zip(record.names, record.difficult, strict=True)) if label == name and not hard
    ]


def _content(episodes: Episodes) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "way": episodes.way,
        "shots": list(episodes.shots),
        "query": episodes.query,
        "seed": episodes.seed,
        "pools": {role: dict(pool) for role, pool in episodes.pools.items()},
        "episodes": [
            {
                "classes": list(e.classes),
                "support": {name: [list(pair) for pair in e.support[name]] for name in e.classes},
                "query": {name: list(e.query[name]) for name in e.classes},
            }
            for e in episodes.episodes
        ],
    }


def digest(content: Any) -> str:
    """SHA-256 of the canonical JSON of `content`."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def listed(problems: Sequence[str]) -> str:
    """The first problems, a line each, and how many more there are."""
    more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return "\n".join(f"  {line}" for line in [*problems[:_SHOWN], *more])
