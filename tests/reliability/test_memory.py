"""Commands whose memory ends: one line, exit code 2, and nothing half written; one image that is too large is left out."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from forked import ended
from PIL import Image

from repmet.classification import embed, predict
from repmet.detection import detect
from repmet.errors import exit_code, is_out_of_memory

LEFT = (8, 60, 150)  # MB that a command may take beyond what it has when it begins
COMMANDS = {
    "detect": (
        detect.main,
        ("{run}", "--support", "{support}", "--format", "jsonl", "--images", "{photos}", "--out", "{out}"),
    ),
    "classify": (predict.main, ("{encoder}", "--support", "{support}", "--images", "{photos}", "--out", "{out}")),
    "embed": (embed.main, ("{encoder}", "--images", "{photos}", "--out", "{out}/all.npz")),
}


def limited(main: Callable, megabytes: int) -> Callable:
    """A command that may take so much more memory than its process has now."""

    def command(words: list[str]) -> int:
        import resource

        now = int(re.search(r"VmSize:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (now + megabytes * 1_000_000,) * 2)
        return main(words)

    return command


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two of the usual size, and one of 72 MB when it is open."""
    (tmp_path / "photos").mkdir()
    for name, size in (("a.png", (60, 40)), ("large.png", (6000, 4000)), ("z.png", (60, 40))):
        Image.new("RGB", size, (20, 200, 60)).save(tmp_path / "photos" / name, compress_level=1)
    return tmp_path / "photos"


@pytest.fixture
def support(tmp_path: Path) -> Path:
    for name in ("red", "blue"):
        (tmp_path / "support" / name).mkdir(parents=True)
        Image.new("RGB", (32, 24), name).save(tmp_path / "support" / name / "a.png")
    return tmp_path / "support"


@pytest.mark.parametrize("command", COMMANDS)
def test_without_memory_one_line_is_said(command, glyph_run, checkpoint, photos, support, outcomes, tmp_path) -> None:
    main, words = COMMANDS[command]
    for megabytes in LEFT:
        out = tmp_path / f"{command}{megabytes}"
        names = {"run": glyph_run, "encoder": checkpoint, "support": support, "photos": photos, "out": out}
        log = tmp_path / "log"
        code = ended(limited(main, megabytes), *(word.format(**names) for word in words), log=log)
        said = log.read_text()
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        assert code in (0, 1, 2) and "Traceback" not in said, said
        assert len(errors) == (code == 2), said
        left = [path for path in out.rglob("*") if path.is_file()] if out.exists() else []
        for path in left:
            assert not path.name.endswith(".part"), path
            if path.suffix in (".jsonl", ".json"):
                text = path.read_text(encoding="utf-8")
                assert all(json.loads(line) for line in (text.splitlines() if path.suffix == ".jsonl" else [text]))
        outcomes["memory that ends", command, "refused" if code else "right"] += 1
    assert code == 0 or "large.png" in said, "the small ones are looked at where the large one is not"


def test_who_has_no_memory_is_told_so(capsys) -> None:
    def torch_has_none() -> None:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        )

    def python_has_none() -> None:
        np.empty(1 << 50, np.uint8)

    for command in (torch_has_none, python_has_none):
        assert exit_code(command) == 2
        assert re.fullmatch(r"error: out of memory: .*\n", capsys.readouterr().err)
    with pytest.raises(RuntimeError, match="a defect"):
        exit_code(lambda: (_ for _ in ()).throw(RuntimeError("a defect")))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
