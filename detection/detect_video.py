"""`detect` on videos and cameras: a line of JSON for each frame as it is looked at, and a video with the boxes drawn.

    {"frame": 60, "seconds": 2.0, "width": 1280, "height": 720, "detections": [{"class": "nut", "score": 0.91,
     "box": [x1, y1, x2, y2], "track": 3}]}

Nothing is held but the frame at hand. A camera goes on until it is interrupted; what was written until then is whole.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from repmet.data.files.atomic import check_folder
from repmet.data.files.lines import LineWriter
from repmet.data.files.video import FrameTime, VideoWriter, is_video_file
from repmet.data.files.walk import check_drawn_folder, make_drawn_folder
from repmet.data.readers.image_inputs import video_frames
from repmet.detection.results import Detections
from repmet.detection.tracking import track
from repmet.errors import UserError, one_line
from repmet.experiments.running.processes import my_share
from repmet.progress import progress
from repmet.wording import counted

VIDEOS = "videos"
Shown = Callable[[Detections], Detections]


def sources(words: Sequence[str]) -> tuple[list[str | int], list[str]]:
    """The videos and camera numbers among what `--images` names, and the others."""
    videos: list[str | int] = []
    others = []
    for word in words:
        if word.isdecimal() and word.isascii() and not Path(word).exists():
            videos.append(int(word))
        elif is_video_file(word) and not Path(word).is_dir():
            if not Path(word).expanduser().is_file():
                raise FileNotFoundError(f"{word}: no such video")
            videos.append(word)
        else:
            others.append(word)
    return list(dict.fromkeys(videos)), others


def look(detector: Any, videos: Sequence[str | int], args: argparse.Namespace, shown: Shown) -> list[str]:
    """Looks at videos one after the other, writes and prints; of several processes each at some of them.

    Args:
        shown: what of the detections of a frame is drawn and counted.

    Returns:
        A line for each that could not be read, or not to its end.

    Raises:
        OSError: no room for what is written; what is there by then is whole.
    """
    problems = []
    for video, target in my_share(list(zip(videos, _targets(videos, Path(args.out)), strict=True))):
        frames = progress(video_frames(video, every=args.every), "looking", None)
        results = detector.detect(iter(frames), min_score=args.min_score, unknown=args.unknown, progress=False)
        if args.track:
            results = track(results, detector.thresholds)
        name = f"camera {video}" if isinstance(video, int) else video
        if isinstance(video, int):
            print(f"{name}: ctrl-C ends it", file=sys.stderr)
        count = Count()
        try:
            _write(results, target, shown, count)
        except KeyboardInterrupt:
            if not isinstance(video, int):
                raise
        except (UserError, OSError) as error:
            if isinstance(error, OSError) and error.filename in (str(target), str(target.with_suffix(".jsonl"))):
                raise  # nor is there room for the next
            problems.append(one_line(error))
        if count.frames:
            tracks = f", {counted(len(count.tracks), 'track')}" if args.track else ""
            best = ", ".join(f"{number} {label}" for label, number in count.classes.most_common(8)) or "nothing"
            print(f"{name}: {counted(count.frames, 'frame')}{tracks}; {best}")
            print(f"written: {target.with_suffix('.jsonl')}; look at {target}")
    return problems


def check(videos: Iterable[str | int], args: argparse.Namespace) -> None:
    """Raises ValueError where what `look` will write has no place of its own."""
    _targets(videos, Path(args.out))
    check_drawn_folder(Path(args.out) / VIDEOS)


class Count:
    """What was seen so far, of what is shown."""

    def __init__(self) -> None:
        self.frames = 0
        self.classes: Counter[str] = Counter()
        self.tracks: set[int] = set()

    def add(self, drawn: Detections) -> None:
        self.frames += 1
        self.classes.update(drawn.names)
        if drawn.tracks is not None:
            self.tracks.update(drawn.tracks[drawn.tracks >= 0].tolist())


def _targets(videos: Iterable[str | int], out: Path) -> list[Path]:
    """The video that is written for each, no two of one name, and none in the place of one that is read."""
    targets: list[Path] = []
    for video in videos:
        stem = f"camera_{video}" if isinstance(video, int) else Path(video).stem
        target, number = out / VIDEOS / f"{stem}.mp4", 2
        while target in targets:
            target, number = target.with_stem(f"{stem}-{number}"), number + 1
        if not isinstance(video, int) and target.exists() and target.samefile(Path(video).expanduser()):
            raise UserError(f"{target} would be written over the video that is looked at; name another folder by --out")
        targets.append(target)
    return targets


def _write(results: Iterable[Detections], target: Path, shown: Shown, count: Count) -> None:
    check_folder(target.parent)
    writer: VideoWriter | None = None
    lines: LineWriter | None = None
    with ExitStack() as opened:
        for frame in results:
            when = frame.image.frame
            assert when is not None  # every frame of `video_frames` has one
            if writer is None or lines is None:
                make_drawn_folder(target.parent)
                lines = opened.enter_context(LineWriter(target.with_suffix(".jsonl")))
                writer = opened.enter_context(VideoWriter(target, when.rate or 1.0))
            lines.write(json.dumps(_line(frame, when), ensure_ascii=False))
            drawn = shown(frame)
            writer.write(replace(drawn, supports=None).plot(), when.seconds)
            count.add(drawn)


def _line(frame: Detections, when: FrameTime) -> dict[str, Any]:
    rows = []
    for number, (_, name, score, *box) in enumerate(frame.rows()):
        row = {"class": name, "score": round(score, 5), "box": [round(side, 2) for side in box]}
        rows.append(row if frame.tracks is None else row | {"track": int(frame.tracks[number])})
    width, height = frame.size
    head = {"frame": when.number, "seconds": round(when.seconds, 3), "width": width, "height": height}
    return head | {"detections": rows}
