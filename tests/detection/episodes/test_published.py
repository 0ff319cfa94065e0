"""Published episode files: Python-2 pickles of plain values, read without running anything that they hold."""

import json
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from repmet.data.sources.imagenet_loc import read_imagenet_loc
from repmet.data.sources.voc import ImageRecord, read_image_set
from repmet.detection import evaluate
from repmet.detection.episodes.published import plain_pickle, read_published


def records(prefix: str, count: int) -> list[ImageRecord]:
    boxes = np.array([[10, 10, 50, 50], [60, 20, 90, 80]], np.float32)
    names = [("cat", "dog") if k % 2 else ("dog", "cat") for k in range(count)]
    return [
        ImageRecord(f"{prefix}{k}", Path(f"/data/{prefix}{k}.JPEG"), 100, 100, names[k], boxes, np.zeros(2, bool))
        for k in range(count)
    ]


SUPPORT, QUERY = records("s", 6), records("q", 8)


def entry(shots: int = 5) -> dict:
    """One episode as published: class numbers by numpy, boxes a pixel or two beside ours."""
    rows = []
    for category, name in ((7, "cat"), (3, "dog")):
        for k in range(shots):
            box = SUPPORT[k].boxes[SUPPORT[k].names.index(name)] + 1
            rows.append([np.int64(category), name, f"Data/CLS-LOC/train/x/s{k}.JPEG", box.astype(np.int64)])
    return {
        "epi_cats": np.array([7, 3]),
        "epi_cats_names": ["cat", "dog"],
        "train_boxes": rows,
        "query_images": {7: [f"a/q{k}.JPEG" for k in range(3)], 3: [f"a/q{k}.JPEG" for k in range(2, 5)]},
    }


def write(path: Path, content, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_episodes_are_matched_to_our_images_and_boxes(tmp_path: Path, protocol: int) -> None:
    episodes = read_published(write(tmp_path / "e.pkl", [entry(), entry()], protocol), SUPPORT, QUERY)
    assert (episodes.way, episodes.shots, episodes.query, len(episodes.episodes)) == (2, (1, 5), 3, 2)
    episode = episodes.episodes[0]
    assert episode.classes == ("cat", "dog")
    assert episode.support["cat"] == tuple((f"s{k}", SUPPORT[k].names.index("cat")) for k in range(5))
    assert episode.query["dog"] == ("q2", "q3", "q4")
    episodes.check_against(SUPPORT, QUERY)
    as_list = entry() | {"query_images": [entry()["query_images"][7], entry()["query_images"][3]]}
    assert read_published(write(tmp_path / "l.pkl", [as_list]), SUPPORT, QUERY).episodes[0] == episode


def test_text_of_python_2_is_read(tmp_path: Path) -> None:
    """A byte string of protocol 2, as Python 2 wrote `str`."""
    raw = b"\x80\x02]U" + struct.pack("B", 4) + b"caf\xe9" + b"a."
    (tmp_path / "old.pkl").write_bytes(raw)
    assert plain_pickle(tmp_path / "old.pkl") == ["café"]


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        (b"cos\nsystem\n(S'touch ran'\ntR.", "os.system|posix.system"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
        (pickle.dumps([Path("x")]), "pathlib"),
    ],
)
def test_nothing_of_it_is_run(tmp_path: Path, monkeypatch, content: bytes, asked: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=rf"evil\.pkl: not read: it asks for ({asked})"):
        plain_pickle("evil.pkl")
    assert not (tmp_path / "ran").exists()


def test_files_that_are_none_or_of_another_set(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        plain_pickle(tmp_path / "no.pkl")
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps([entry()])[:200])
    with pytest.raises(ValueError, match=r"cut\.pkl: not read"):
        read_published(tmp_path / "cut.pkl", SUPPORT, QUERY)
    for content in ([{"epi_cats": [1]}], 5, [[1, 2]]):
        with pytest.raises(ValueError, match="not a published file of episodes"):
            read_published(write(tmp_path / "e.pkl", content), SUPPORT, QUERY)
    with pytest.raises(ValueError, match="holds no episode"):
        read_published(write(tmp_path / "e.pkl", []), SUPPORT, QUERY)
    with pytest.raises(ValueError, match=r"another data set, 3 problems\n  .*no cat box .*s0"):
        read_published(write(tmp_path / "e.pkl", [entry()]), SUPPORT[1:], QUERY[1:])


def test_query_images_in_one_list_go_to_the_class_that_they_hold(tmp_path: Path) -> None:
    """Every image of ours holds both classes: then each class gets as many."""
    flat = entry() | {"query_images": [f"a/q{k}.JPEG" for k in range(6)]}
    episodes = read_published(write(tmp_path / "e.pkl", [flat]), SUPPORT, QUERY)
    assert episodes.episodes[0].query == {"cat": ("q0", "q2", "q4"), "dog": ("q1", "q3", "q5")} and episodes.query == 3
    only_dogs = [replace(r, names=("dog", "dog")) if r.id in ("q0", "q2") else r for r in QUERY]
    episodes = read_published(tmp_path / "e.pkl", SUPPORT, only_dogs)
    assert episodes.episodes[0].query == {"cat": ("q1", "q3", "q4"), "dog": ("q0", "q2", "q5")}
    neither = [replace(r, names=("emu", "emu")) if r.id == "q5" else r for r in QUERY]
    with pytest.raises(ValueError, match=r"no box of its classes in the query image a/q5.JPEG"):
        read_published(tmp_path / "e.pkl", SUPPORT, neither)


def test_a_class_is_what_its_support_boxes_are_labelled(tmp_path: Path) -> None:
    """The published files say `king snake, kingsnake`, ILSVRC's annotations a WordNet id."""
    other = entry() | {"epi_cats_names": ["king snake, kingsnake", "hog, pig"]}
    other["train_boxes"] = [[c, "any name", path, box] for c, _, path, box in other["train_boxes"]]
    first, second = (read_published(write(tmp_path / "e.pkl", [e]), SUPPORT, QUERY) for e in (entry(), other))
    assert second.episodes == first.episodes
    other["train_boxes"] = [[7, "", path, box] for _, _, path, box in entry()["train_boxes"]]
    other["train_boxes"] += [[3, "", path, box] for _, _, path, box in entry()["train_boxes"]]
    with pytest.raises(ValueError, match="two of its classes have one label"):
        read_published(write(tmp_path / "e.pkl", [other]), SUPPORT, QUERY)


# As Python 2 wrote the benchmark's own files: by protocol 0, class numbers as numpy's scalars, images by number.
NUMBERED = b"""(lp1
(dp2
S'epi_cats'
p3
(lp4
cnumpy.core.multiarray
scalar
p5
(cnumpy
dtype
p6
(S'i8'
I0
I1
tRp7
(I3
S'<'
NNNI-1
I-1
I0
tbS'm\\x00\\x00\\x00\\x00\\x00\\x00\\x00'
tRp8
ag5
(g7
S'\\x83\\x01\\x00\\x00\\x00\\x00\\x00\\x00'
tRp10
asS'query_images'
p13
(dp14
g8
(lp15
I6
aI7
asg10
(lp16
I8
aI9
assS'train_nImg'
p20
(dp21
g8
(lp22
I0
asg10
(lp23
I1
assa."""


def test_the_benchmarks_own_files_number_images(tmp_path: Path) -> None:
    path = tmp_path / "RepMet_inloc_1shot_5way_10qpc_500epi_episodes.npz"
    path.write_bytes(NUMBERED)
    with pytest.raises(FileNotFoundError, match=r"voc_inloc_roidb\.pkl: no such file"):
        read_published(path, SUPPORT, QUERY)
    number = {"cat": 0x6D, "dog": 0x183}
    roidb = [
        {
            "image": f"/old/place/{r.path.name}",
            "boxes": r.boxes.astype(np.uint16),
            "gt_classes": np.array([number[name] for name in r.names], np.int32),
            "flipped": False,
        }
        for r in (*SUPPORT, *QUERY)
    ]
    write(tmp_path / "voc_inloc_roidb.pkl", {"roidb": roidb, "classes": ["background"], "cls2img": [[]]})
    episodes = read_published(path, SUPPORT, QUERY)
    assert (episodes.way, episodes.shots, episodes.query) == (2, (1,), 2)
    episode = episodes.episodes[0]
    assert episode.classes == ("cat", "dog") and episode.query == {"cat": ("q0", "q1"), "dog": ("q2", "q3")}
    assert episode.support == {
        "cat": (("s0", SUPPORT[0].names.index("cat")),),
        "dog": (("s1", SUPPORT[1].names.index("dog")),),
    }
    episodes.check_against(SUPPORT, QUERY)


def test_the_command_takes_a_published_file(glyph_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """On a tree like ILSVRC's, where the supports are images of the training list and so are the queries."""
    scenes, root = glyph_run / "scenes", tmp_path / "ILSVRC"
    for name in ("classes_base.txt", "classes_novel.txt"):
        (tmp_path / name).write_text((scenes / name).read_text())
    for r in read_image_set(scenes, "novel_support") + read_image_set(scenes, "novel_query"):
        xml = root / f"Annotations/CLS-LOC/train/{r.names[0]}/{r.id}.xml"
        picture = root / f"Data/CLS-LOC/train/{r.names[0]}/{r.id}.JPEG"
        for path, original in ((xml, scenes / "Annotations" / f"{r.id}.xml"), (picture, r.path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(original)
    novel = sorted(p.name for p in (root / "Annotations/CLS-LOC/train").iterdir())
    pool = read_imagenet_loc(tmp_path, "train", novel)
    (tmp_path / "classes_novel.txt").write_text("\n".join(novel))
    supports = {name: next(r for r in pool if name in r.names) for name in novel[:2]}
    rows = [
        [k, f"some {name}", f"/old/Data/CLS-LOC/train/x/{r.id}.JPEG", r.boxes[[r.names.index(name)]]]
        for k, (name, r) in enumerate(supports.items())
    ]
    used = {r.id for r in supports.values()}
    queries = [next(r for r in pool if name in r.names and r.id not in used) for name in supports]
    episode = {
        "epi_cats": [0, 1],
        "epi_cats_names": [f"some {name}" for name in supports],
        "train_boxes": rows,
        "query_images": [f"/old/{r.id}.JPEG" for r in queries],
    }
    file = write(tmp_path / "epi_inloc_in_domain_1_5_10_500.pkl", [episode, episode])
    arguments = [str(glyph_run / "tiny.yaml"), str(glyph_run), "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    arguments += ["--cfg-options", "data.support=train", "data.query=train", "data.base_test=null"]
    assert evaluate.main([*arguments, "--episodes", str(file)]) == 0, capsys.readouterr().err
    row = json.loads((tmp_path / "out/metrics.json").read_text())["results"][0]
    assert (row["protocol"]["way"], row["protocol"]["shot"], row["protocol"]["episodes"]) == (2, 1, 2)
    rows[0][2] = "/old/Data/CLS-LOC/train/x/another_set_7.JPEG"
    write(file, [episode])
    assert evaluate.main([*arguments, "--episodes", str(file)]) == 2
    assert "the episodes are of another data set" in capsys.readouterr().err
