"""What was made of images is kept line by line, and what is not there any more, or not of today, is made anew."""

import argparse
import os
import signal
import time
from pathlib import Path

import pytest

from repmet.data.readers.image_inputs import ImageInput, image_inputs
from repmet.errors import UserError
from repmet.experiments.running import processes, shared_images
from repmet.experiments.running.shared_images import SharedImages, asked


@pytest.fixture
def images(tmp_path: Path) -> list[ImageInput]:
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(bytes([number]) * 10)
    return list(image_inputs([tmp_path / f"{number}.png" for number in range(5)]))


def look(images: list[ImageInput], folder: Path, command: str = "one", stop: int = 9) -> tuple[SharedImages, list[str]]:
    """Looks at those that are left, `stop` at most."""
    shared = SharedImages(images, folder, command)
    done = [image.path.name for image in shared.mine[:stop]]
    for image in shared.mine[:stop]:
        shared.add(image, {"seen": image.path.stem, "number": shared.number(image)})
    return shared, done


def test_the_second_run_looks_at_what_is_left(images, tmp_path) -> None:
    assert look(images, tmp_path / "lines", stop=2)[1] == ["0.png", "1.png"]
    shared, done = look(images, tmp_path / "lines")
    assert done == ["2.png", "3.png", "4.png"]
    assert shared.finish()
    assert [(number, line["seen"], line["number"]) for number, _, line in shared.entries()] == [
        (k, str(k), k) for k in range(5)
    ]
    shared.remove()
    assert not (tmp_path / "lines").exists()


def test_a_line_that_is_cut_off_is_none(images, tmp_path) -> None:
    look(images, tmp_path / "lines")
    (file,) = (tmp_path / "lines/one").glob("*.jsonl")
    content = file.read_bytes()
    for end in (len(content) - 1, len(content) - 9):
        file.write_bytes(content[:end])
        assert [image.path.name for image in SharedImages(images, tmp_path / "lines", "one").mine] == ["4.png"]
    file.write_bytes(content[:30] + b"\xff\n" + content.split(b"\n", 1)[1])
    assert [image.path.name for image in SharedImages(images, tmp_path / "lines", "one").mine] == ["0.png"]


def test_a_file_that_changed_is_looked_at_again(images, tmp_path) -> None:
    look(images, tmp_path / "lines")
    os.utime(tmp_path / "3.png", (1, 1))
    (tmp_path / "1.png").write_bytes(b"other")
    shared, done = look(images, tmp_path / "lines")
    assert done == ["1.png", "3.png"]
    assert [line["seen"] for _, _, line in shared.entries()] == list("01234")


def test_what_lies_beside_a_line_counts(images, tmp_path) -> None:
    look(images, tmp_path / "lines")
    shared = SharedImages(images, tmp_path / "lines", "one", complete=lambda number: number != 2)
    assert shared.mine == [images[2]]


def test_another_command_takes_nothing_up_and_nothing_away(images, tmp_path) -> None:
    look(images, tmp_path / "lines", stop=2)
    other, done = look(images, tmp_path / "lines", "two")
    assert len(done) == 5
    other.remove()
    assert len(look(images, tmp_path / "lines")[1]) == 3


def test_what_nobody_has_gone_on_with_is_forgotten(images, tmp_path) -> None:
    look(images, tmp_path / "lines", stop=2)
    os.utime(tmp_path / "lines/one", (1, 1))
    look(images, tmp_path / "lines", "two", stop=1)
    assert not (tmp_path / "lines/one").exists()


def test_problems_are_those_of_this_run(images, tmp_path) -> None:
    shared = SharedImages(images, tmp_path / "lines", "one")
    shared.finish(["0.png is odd"])
    shared = SharedImages(images, tmp_path / "lines", "one")
    assert len(shared.mine) == 5, "it may be mended by now"
    shared.finish(["0.png is odd", "1.png is odd"])
    assert shared.problems() == ["0.png is odd", "1.png is odd"]


def test_a_process_that_died_is_told(images, tmp_path, monkeypatch) -> None:
    shared, _ = look(images, tmp_path / "lines", stop=2)
    monkeypatch.setattr(shared_images, "all_arrived", lambda: False)
    with pytest.raises(UserError, match="2 images of 5 are left; run the same command again"):
        shared.finish(["2.png is odd"])


def test_processes_have_shares_of_what_is_left(images, tmp_path, monkeypatch) -> None:
    look(images, tmp_path / "lines", stop=1)
    shares = []
    for number in range(2):
        monkeypatch.setattr(processes, "process_number", lambda number=number: number)
        monkeypatch.setattr(processes, "processes", lambda: 2)
        monkeypatch.setattr(shared_images, "agreed", lambda value: value())
        shares.append([image.path.name for image in SharedImages(images, tmp_path / "lines", "one").mine])
    assert shares == [["1.png", "3.png"], ["2.png", "4.png"]]


def test_a_command_is_its_options_and_the_files_that_it_reads(tmp_path) -> None:
    (tmp_path / "support/cat").mkdir(parents=True)
    (tmp_path / "support/cat/a.png").write_bytes(b"a")
    out = tmp_path / "support/out"

    def digest(**options: object) -> str:
        given_options = {"support": "support", "images": ["a"], "out": "x", "batch_size": 4, "min_score": 0.1} | options
        return asked(argparse.Namespace(**given_options), [tmp_path / "support", None, "no such file"], out)

    first = digest()
    assert first == digest(images=["b", "c"], out="y", batch_size=1), "where and how fast is no matter"
    assert first != digest(min_score=0.2)
    out.mkdir()
    (out / "results.json").write_text("what it writes itself")
    (tmp_path / "support/.DS_Store").write_text("what nobody reads")
    assert first == digest()
    os.utime(tmp_path / "support/cat/a.png", (1, 1))
    assert first != digest()


def test_two_commands_do_not_write_to_one_place(images, tmp_path) -> None:
    child = os.fork()
    if not child:
        at_work = look(images, tmp_path / "lines", stop=1)
        (tmp_path / "ready").touch()
        signal.pause()
        os._exit(len(at_work))
    try:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        with pytest.raises(UserError, match="lines: another command is at work there"):
            SharedImages(images[3:], tmp_path / "lines", "one")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert look(images, tmp_path / "lines")[1] == ["1.png", "2.png", "3.png", "4.png"]  # what was killed is gone on with
