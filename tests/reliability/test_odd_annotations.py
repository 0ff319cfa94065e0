"""Odd annotations through `detect --support`: the set is learnt from, or one line names it."""

from pathlib import Path

import numpy as np
import pytest
from odd_annotations import IMAGES, SIZE, odd_annotations
from PIL import Image

from repmet.detection import detect
from repmet.detection.episodes.support_set import read_support
from repmet.errors import exit_code


def test_each_set_is_learnt_from_or_named(seed, detector, outcomes, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    picture = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8))
    faults = []
    for number, odd in enumerate(odd_annotations(seed)):
        folder = tmp_path / f"set{number}"
        folder.mkdir()
        for name in IMAGES:
            picture.save(folder / name)
        for name, content in odd.files.items():
            (folder / name).write_bytes(content)
        args = detect.command_line("repmet detect").parse_args(
            ["--support", str(folder), "--save", str(tmp_path / "mine.pth"), "--out", str(tmp_path)]
        )
        capsys.readouterr()
        try:
            code = exit_code(lambda args=args: detect.run(args, lambda _: detector))
        except Exception as error:  # a defect
            faults.append((folder.name, odd, repr(error)))
            continue
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        outcomes[f"annotations: {odd.case}", "detect --support", "refused" if code else "right"] += 1
        if code == 0:
            for record in read_support(folder, tmp_path / "scratch"):
                boxes, bounds = record.boxes, (record.width, record.height)
                inside = np.isfinite(boxes).all() and (boxes >= 0).all() and (boxes[:, 2:] <= bounds).all()
                if not inside or (boxes[:, 2:] <= boxes[:, :2]).any():
                    faults.append((folder.name, odd, boxes.tolist()))
        elif odd.whole or code != 2 or len(errors) != 1 or str(folder) not in errors[0]:
            faults.append((folder.name, odd, errors))
    assert not faults, "\n\n".join(f"{name} {odd.case}\n{odd.files}\n{said}" for name, odd, said in faults)
