"""A disk without room: one line that names the file for which there was none, exit code 2, and no half of a file."""

import json
from pathlib import Path

import pytest

from repmet import label as label_command
from repmet.detection import detect

SIZES = (0, 300, 3000, 12_000)  # bytes that a file may have
LOOK = ("{run}", "--support", "{support}", "--images", "{photos}", "--min-score", "0.02", "--out", "{out}")
COMMANDS = {
    "detect": (detect.main, LOOK),
    "detect --save": (detect.main, ("{run}", "--support", "{support}", "--save", "{out}/mine.pth")),
    "detect --format": (detect.main, (*LOOK, "--format", "coco", "--copy-images")),
    "label": (
        label_command.main,
        ("{run}", "--support", "{support}", "--images", "{photos}", "--accept", "0.02", "--format", "voc", "--out", "{out}"),
    ),
}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_has_no_room_is_named_and_no_half_is_left(
    name, glyph_run, support, photos, tmp_path, capsys, room, monkeypatch
) -> None:
    monkeypatch.setenv("REPMET_CACHE", str(tmp_path / "cache"))
    main, words = COMMANDS[name]

    def run(out: Path) -> int:
        return main([word.format(run=glyph_run, support=support, photos=photos, out=out) for word in words], "repmet")

    assert run(tmp_path / "whole") == 0
    whole = files(tmp_path / "whole")
    for size in SIZES:
        out = tmp_path / str(size)
        capsys.readouterr()
        with room(size):
            code = run(out)
        said = [line for line in capsys.readouterr().err.splitlines() if "it/s" not in line]
        assert code == 2 and len(said) == 1 and said[0].startswith(f"error: {out}"), said
        named = said[0].removeprefix(f"error: {out}").partition(":")[0].removeprefix("/")
        left = files(out) if out.exists() else {}
        for kept in [name for name in left if name.startswith("unfinished/")]:  # what was found so far
            assert all(json.loads(line) for line in left.pop(kept).splitlines())
        if not named.startswith("unfinished/"):
            assert size < 512 if not named else len(whole[named]) > size, (
                said
            )  # no name: the folder itself, asked beforehand
        assert all(name.startswith("pictures/") and whole[name] == content for name, content in left.items()), left.keys()
    assert run(out) == 0 and files(out).keys() == whole.keys(), "with room it goes on"
