"""`detect` on videos and a camera: a line and a picture for every frame, nothing is held, a class is shown on a frame."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.data.files.video import VideoWriter, file_frames
from repmet.detection import detect, detect_video
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.results import Detections

pytest.importorskip("av")


@pytest.fixture(scope="module")
def clip(photos, tmp_path_factory) -> Path:
    """Six frames of one scene."""
    path = tmp_path_factory.mktemp("clips") / "my clip.mp4"
    shown = Image.open(sorted(photos.glob("*.*"))[0]).convert("RGB")
    with VideoWriter(path, 10) as writer:
        for number in range(6):
            writer.write(shown, number / 10)
    return path


@pytest.fixture
def run(glyph_run, tmp_path):
    """The command's exit code and folder."""
    return lambda *words: (detect.main([str(glyph_run), "--out", str(tmp_path / "out"), *map(str, words)]), tmp_path / "out")


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_and_a_picture_for_every_nth_frame(run, clip, support, taught, capsys) -> None:
    code, out = run("--images", clip, "--support", support, "--every", 2, "--min-score", 0.01)
    said = capsys.readouterr()
    assert code == 0 and "my clip.mp4: 3 frames" in said.out, said
    rows = lines(out / "videos/my clip.jsonl")
    assert [row["frame"] for row in rows] == [0, 2, 4]
    assert [row["seconds"] for row in rows] == pytest.approx([0, 0.2, 0.4], abs=1e-3)
    pictures = [picture for _, picture in file_frames(clip, 2)]
    for row, picture in zip(rows, pictures, strict=True):
        expected = taught.detect(picture, min_score=0.01)
        assert (row["width"], row["height"]) == expected.size
        assert [d["class"] for d in row["detections"]] == expected.names
        np.testing.assert_allclose([d["score"] for d in row["detections"]], expected.scores, atol=1e-4)
        np.testing.assert_allclose([d["box"] for d in row["detections"]], expected.boxes, atol=0.02)
        assert "track" not in row["detections"][0]
    written = list(file_frames(out / "videos/my clip.mp4"))
    assert [when.seconds for when, _ in written] == pytest.approx([0, 0.2, 0.4], abs=1e-3)


def test_a_class_is_shown_on_a_frame_and_tracked(run, clip, capsys) -> None:
    pytest.importorskip("trackers")
    marks = ["--mark", "thing", f"{clip}@0.1s", "10,20,60,70", "--mark", "big", f"{clip}@0.3s", "5,5,100,90"]
    code, out = run("--images", clip, "--track", *marks, "--show", 0.0, "--min-score", 0.0)
    said = capsys.readouterr()
    assert code == 0 and "2 classes: big, thing" in said.out and "tracks" in said.out, said
    numbers = [[d["track"] for d in row["detections"]] for row in lines(out / "videos/my clip.jsonl")]
    assert set(numbers[0]) == {-1} and max(numbers[1]) >= 1
    assert numbers[2][0] == numbers[5][0] >= 1  # nothing moves


def test_images_and_videos_together(run, clip, photos, support, capsys) -> None:
    code, out = run("--images", photos / "wide.png", clip, clip, "--support", support)
    assert code == 0 and (out / "results.json").is_file()
    assert [path.name for path in sorted((out / "videos").glob("my*"))] == ["my clip.jsonl", "my clip.mp4"]


def test_a_camera_goes_on_until_it_is_interrupted(run, support, photos, monkeypatch, capsys) -> None:
    from repmet.data.files.video import FrameTime
    from repmet.data.readers import image_inputs

    def camera(number: int, every: int):
        picture = Image.open(photos / "wide.png").convert("RGB")
        for k in range(3):
            yield FrameTime(k, k / 3, 10.0), picture
        raise KeyboardInterrupt

    monkeypatch.setattr(image_inputs, "camera_frames", camera)
    code, out = run("--images", 0, "--support", support)
    said = capsys.readouterr()
    assert code == 0 and "camera 0: 3 frames" in said.out and "ctrl-C ends it" in said.err
    assert len(lines(out / "videos/camera_0.jsonl")) == sum(1 for _ in file_frames(out / "videos/camera_0.mp4")) == 3


def test_what_was_seen_before_a_damage_is_kept(run, clip, support, tmp_path, capsys) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    code, out = run("--images", tmp_path / "text.mp4", clip, "--support", support)
    said = capsys.readouterr()
    assert code == 1 and "passed over: " in said.err and "text.mp4: cannot be read as a video" in said.err
    assert len(lines(out / "videos/my clip.jsonl")) == 6 and not (out / "videos/text.mp4").exists()


def test_no_frame_is_held(taught, clip, tmp_path) -> None:
    """When a frame is asked for, those before it are gone."""
    import weakref

    alive: list[weakref.ref] = []
    most_alive = 0

    class Detector:
        thresholds = taught.thresholds

        def detect(self, frames, **_):
            nonlocal most_alive
            for image in frames:
                result = Detections(
                    boxes=[], scores=[], labels=[], nearest=np.zeros(0), classes=("a",), image=image, size=image.source.size
                )
                alive.append(weakref.ref(result))
                yield result
                del result, image
                most_alive = max(most_alive, sum(ref() is not None for ref in alive))

    args = detect.command_line("x").parse_args(["--images", str(clip), "--out", str(tmp_path)])
    assert detect_video.look(Detector(), [str(clip)], args, lambda detections: detections) == []
    assert len(alive) == 6 and most_alive <= 1  # what the loop's own name still holds


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "{photos}", "--track"], "--track and --every go with a video"),
        (["--images", "{clip}", "--every", "0"], "--every is at least 1, not 0"),
        (["--images", "{clip}", "--format", "coco"], "--format writes a data set of images"),
        (["--images", "gone.mp4"], "gone.mp4: no such video"),
        (["--images", "{clip}", "--mark", "a", "{clip}@0.1s", "1,2,3"], "a box is four numbers"),
        (["--images", "{clip}", "--mark", "a", "{clip}@0.1s", "x"], "a box is x1,y1,x2,y2 in pixels"),
        (["--images", "{clip}", "--mark", "a", "{clip}@99s", "1,2,30,40"], "has no frame at 99 s"),
        (["--images", "{clip}", "--mark", "a", "{clip}", "1,2,30,40"], "a pair holds one image"),
    ],
)
def test_what_does_not_go_is_one_line(run, words, message, clip, photos, capsys) -> None:
    code, _ = run(*(word.format(clip=clip, photos=photos) for word in words))
    said = capsys.readouterr().err
    assert code == 2 and message in said and len(said.strip().splitlines()) == 1, said


def test_a_video_is_not_written_over(glyph_run, clip, support, tmp_path, capsys) -> None:
    (tmp_path / "videos").mkdir()
    target = tmp_path / "videos/clip.mp4"
    target.write_bytes(clip.read_bytes())
    words = [str(glyph_run), "--support", str(support), "--images", str(target), "--out", str(tmp_path)]
    assert detect.main(words) == 2
    assert "would be written over the video" in capsys.readouterr().err and target.read_bytes() == clip.read_bytes()


def test_without_trackers_nothing_is_looked_at(run, clip, support, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    code, _ = run("--support", support, "--images", clip, "--track")
    assert code == 2 and "pip install 'repmet[video]'" in capsys.readouterr().err


def test_videos_of_ones_own_stay_what_they_are(glyph_run, clip, support, tmp_path, capsys) -> None:
    """A folder of drawn videos is passed over by later commands: a folder of one's own is not made one."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/other.mp4").write_bytes(clip.read_bytes())
    words = [str(glyph_run), "--support", str(support), "--images", str(clip), "--out", str(tmp_path)]
    assert detect.main(words) == 2
    assert f"{tmp_path / 'videos'}: holds other files" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["other.mp4"]


def test_from_python_a_video_streams(taught, clip) -> None:
    results = taught.detect(clip, min_score=0.0)
    assert next(results).image.frame.number == 0
    assert len(list(results)) == 5
    assert isinstance(taught.detect(f"{clip}@0.1s"), Detections)


def test_marks_on_a_frame_from_python(glyph_run, clip) -> None:
    (_, picture) = list(file_frames(clip))[2]
    box = (10, 20, 60, 70)
    by_address = FewShotDetector(glyph_run).learn({"a": [(f"{clip}@0.2s", box)]}).detect(picture, min_score=0.0)
    by_picture = FewShotDetector(glyph_run).learn({"a": [(picture, box)]}).detect(picture, min_score=0.0)
    np.testing.assert_allclose(by_address.scores, by_picture.scores, atol=1e-6)
