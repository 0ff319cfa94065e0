"""K-shot lists, drawn and published, and the joint figures of base and novel classes over many of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from repmet.data.sources.voc import ImageRecord
from repmet.detection import evaluate
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.episodes.shot_lists import KShotList, draw_lists, read_lists
from repmet.detection.protocols.shot_lists import one_list, over_lists, without_supports
from repmet.detection.scoring.class_scores import class_scores, stacked
from repmet.detection.scoring.rule import FewShotRule

E = 6


def record(name: str, objects: list[tuple[str, tuple, bool]]) -> ImageRecord:
    boxes = np.array([b for _, b, _ in objects], np.float32).reshape(-1, 4)
    hard = np.array([h for _, _, h in objects], bool)
    return ImageRecord(name, Path(f"{name}.jpg"), 100, 100, tuple(n for n, _, _ in objects), boxes, hard)


@pytest.fixture
def records() -> list[ImageRecord]:
    rng = np.random.default_rng(0)
    made = []
    for k in range(30):
        corner = rng.uniform(0, 50, (3, 2))
        boxes = np.c_[corner, corner + rng.uniform(10, 40, (3, 2))]
        names = rng.choice(["cow", "bus", "cat", "dog"], 3)
        made.append(record(f"{k:06d}", [(n, tuple(b), bool(rng.random() < 0.1)) for n, b in zip(names, boxes, strict=True)]))
    return made


# --- lists -----------------------------------------------------------------------------------------------------------------


def test_a_list_holds_plain_boxes_of_its_class_and_nests(records) -> None:
    by_id = {r.id: r for r in records}
    ten, three = (draw_lists(records, ["cow", "bus"], k, range(5)) for k in (10, 3))
    for long, short in zip(ten, three, strict=True):
        for name in ("cow", "bus"):
            boxes = long.support[name]
            assert len(set(boxes)) == len(boxes) == 10 and boxes[:3] == short.support[name]
            assert all(by_id[i].names[b] == name and not by_id[i].difficult[b] for i, b in boxes)
    assert len({shots.support["cow"] for shots in ten}) == 5
    again = draw_lists(records[::-1], ["bus", "cat", "cow"], 10, range(5))
    assert [a.support["cow"] for a in again] == [a.support["cow"] for a in ten]


def test_every_image_is_drawn_about_as_often(records) -> None:
    """The first box's image over 3000 seeds against a uniform choice among the images that hold the class."""
    holders = [r.id for r in records if any(n == "cow" and not h for n, h in zip(r.names, r.difficult, strict=True))]
    first = [shots.support["cow"][0][0] for shots in draw_lists(records, ["cow"], 1, range(3000))]
    counts = [first.count(i) for i in holders]
    assert sum(counts) == 3000 and stats.chisquare(counts).pvalue > 1e-3


def test_too_few_boxes_are_named(records) -> None:
    with pytest.raises(ValueError, match=r"1 of 2 classes have fewer than 10 boxes to show\n  emu: 0 boxes"):
        draw_lists(records, ["cow", "emu"], 10, [0])


@pytest.fixture
def published(records, tmp_path) -> tuple[Path, list[KShotList]]:
    """Two seeds, 2 shots: VOC's text files for one class, COCO's JSON for the other."""
    lists = draw_lists(records, ["cow", "bus"], 12, [0, 1])
    by_id, written = {r.id: r for r in records}, []
    for shots in lists:
        folder = tmp_path / f"seed{shots.seed}"
        folder.mkdir()
        alone = [i for i, _ in shots.support["cow"] if sum(n == "cow" for n in by_id[i].names) == 1][:2]
        (folder / "box_2shot_cow_train.txt").write_text("".join(f"VOC2012/JPEGImages/{i}.jpg\n" for i in alone))
        cows = tuple((i, by_id[i].names.index("cow")) for i in alone)
        buses = shots.support["bus"][:2]
        boxes = [by_id[i].boxes[b].tolist() for i, b in buses]
        content = {
            "images": [{"id": k, "file_name": f"{i}.jpg"} for k, (i, _) in enumerate(buses)],
            "annotations": [
                {"image_id": k, "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]], "category_id": 6}
                for k, b in enumerate(boxes)
            ],
        }
        (folder / "full_box_2shot_bus_trainval.json").write_text(json.dumps(content))
        written.append(KShotList(shots.seed, {"cow": cows, "bus": buses}))
    return tmp_path, written


def test_published_lists_are_read(records, published) -> None:
    folder, written = published
    assert read_lists(folder, records, ["cow", "bus"], 2) == written
    assert read_lists(folder / "seed1", records, ["cow", "bus"], 2) == [KShotList(0, written[1].support)]


def test_lists_for_coco_2014_are_read_on_coco_2017(records, published) -> None:
    folder, written = published
    path = folder / "seed1/full_box_2shot_bus_trainval.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["file_name"] = f"train2014/COCO_train2014_{image['file_name']}"
    path.write_text(json.dumps(content))
    assert read_lists(folder, records, ["bus"], 2)[1].support == {"bus": written[1].support["bus"]}


def test_lists_of_another_data_set_are_refused(records, published) -> None:
    folder, written = published
    gone = written[0].support["cow"][0][0]
    with pytest.raises(ValueError, match=f"{gone}.jpg is not among the support images"):
        read_lists(folder, [r for r in records if r.id != gone], ["cow", "bus"], 2)
    with pytest.raises(FileNotFoundError, match=r"box_3shot_cow_train\.txt: no such list"):
        read_lists(folder, records, ["cow"], 3)
    path = folder / "seed1/full_box_2shot_bus_trainval.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"][0] += 5
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="has no bus box at"):
        read_lists(folder, records, ["cow", "bus"], 2)
    (folder / "seed0/box_2shot_cow_train.txt").write_text(f"{gone}.jpg\n")
    with pytest.raises(ValueError, match="1 boxes of cow in the 2-shot list"):
        read_lists(folder, records, ["cow"], 2)


# --- figures ---------------------------------------------------------------------------------------------------------------


def test_stacking_changes_no_score() -> None:
    base, novel = F.normalize(torch.randn(3, 5, E), dim=-1), F.normalize(torch.randn(2, 2, E), dim=-1)
    embeddings = F.normalize(torch.randn(7, E), dim=-1)
    scores = class_scores(embeddings, stacked(base, novel), FewShotRule())
    s = torch.stack(
        [torch.exp(-((embeddings[:, None] - r) ** 2).sum(-1) / 0.5).amax(1) for r in [*base, *novel]], 1
    )  # sigma 0.5
    expected = torch.softmax(15 * torch.cat([s, 1 - s.amax(1, keepdim=True)], 1), 1)[:, :-1]
    torch.testing.assert_close(scores, expected)
    torch.testing.assert_close(stacked(novel, base)[2:], base)


def perfect(records, classes) -> dict[str, EmbeddedImage]:
    """Embeddings that are their class's axis, with the true boxes as proposals and one of nothing."""
    axes = torch.eye(E)
    made = {}
    for r in records:
        boxes = torch.cat([torch.from_numpy(r.boxes), torch.tensor([[90.0, 90.0, 99.0, 99.0]])])
        e = torch.stack([axes[classes.index(n)] for n in r.names] + [axes[-1]])
        made[r.id] = EmbeddedImage(boxes, boxes, torch.ones(len(boxes)), {"repmet": e}, {"repmet": e[:-1]})
    return made


def test_perfect_embeddings_find_all_and_confused_ones_do_not(records) -> None:
    classes = ["cat", "dog", "cow", "bus"]
    apart = [r for r in records if len(set(r.names)) == len(r.names)]
    embedded, base = perfect(records, classes), torch.eye(E)[:2, None]
    (shots,) = draw_lists(records, ["cow", "bus"], 3, [0])
    support = {r.id: r for r in records}
    rule = FewShotRule(nms=0.9)
    figures = one_list(shots, 3, base, support, apart, embedded, ["cat", "dog"], rule)
    assert set(figures) == {g + f for g in "nb" for f in ("AP50", "AP50_voc07", "AP")}
    assert all(value > 0.99 for value in figures.values())
    swapped = KShotList(0, {"cow": shots.support["bus"], "bus": shots.support["cow"]})
    figures = one_list(swapped, 3, base, support, apart, embedded, ["cat", "dog"], rule)
    assert figures["nAP50"] < 0.5 and figures["bAP50"] > 0.99
    alone = one_list(shots, 3, base[:0], support, apart, embedded, [], rule)
    assert set(alone) == {"nAP50", "nAP50_voc07", "nAP"}


def test_what_was_shown_is_never_to_be_found(records) -> None:
    """Also under another id: a file is known by its place. All shots of a list leave out the same images."""
    by_id = {r.id: r for r in records}
    (shots,) = draw_lists(records, ["cow", "bus"], 3, [5])
    shown = {i for boxes in shots.support.values() for i, _ in boxes}
    queries = [replace(r, id=f"query/{r.id}") for r in records]
    left = without_supports(queries, shots, by_id)
    assert {r.id for r in left} == {f"query/{r.id}" for r in records if r.id not in shown}
    with pytest.raises(ValueError, match=r"list 5: every query image of cow, bus gives the list a support"):
        without_supports([by_id[i] for i in shown], shots, by_id)


def test_the_figures_are_those_of_the_queries_that_were_not_shown(records) -> None:
    classes = ["cow", "bus", "cat", "dog"]
    by_id, embedded = {r.id: r for r in records}, perfect(records, classes)
    (shots,) = draw_lists(records, ["cow", "bus"], 3, [0])
    shown = {i for boxes in shots.support.values() for i, _ in boxes}
    for r in records:
        if r.id not in shown:  # a leak would score higher
            embedded[r.id].embeddings["repmet"].copy_(F.normalize(torch.randn(len(r.boxes) + 1, E), dim=-1))
    figures = [
        one_list(shots, 3, torch.empty(0, 1, E), by_id, queries, embedded, [], FewShotRule())
        for queries in (records, [r for r in records if r.id not in shown])
    ]
    assert figures[0] == figures[1] and figures[0]["nAP50"] < 0.7


def test_the_mean_and_interval_over_lists(records) -> None:
    classes = ["cat", "dog", "cow", "bus"]
    embedded = perfect(records, classes)
    for image in embedded.values():  # so that lists differ
        image.embeddings["repmet"].add_(0.6 * torch.randn(len(image.boxes), E))
        image.embeddings["repmet"].copy_(F.normalize(image.embeddings["repmet"], dim=-1))
    lists = draw_lists(records, ["cow", "bus"], 2, range(4))
    arguments = (torch.eye(E)[:2, None], {r.id: r for r in records}, records[:12], embedded, ["cat", "dog"], FewShotRule())
    rows = over_lists({1: lists, 2: lists[:3]}, *arguments)
    assert [(row["shot"], row["seeds"]) for row in rows] == [(1, [0, 1, 2, 3]), (2, [0, 1, 2])]
    alone = [one_list(shots, 1, *arguments)["nAP50"] for shots in lists]
    assert rows[0]["nAP50"]["values"] == alone and len(set(alone)) > 1
    low, high = stats.t.interval(0.95, 3, loc=np.mean(alone), scale=stats.sem(alone))
    assert rows[0]["nAP50"]["mean"] == pytest.approx((low + high) / 2)
    assert rows[0]["nAP50"]["ci95"] == pytest.approx((high - low) / 2)


def test_the_command_gives_them_in_the_place_of_episodes(glyph_run, tmp_path, capsys) -> None:
    arguments = [str(glyph_run / "tiny.yaml"), str(glyph_run), "--out", str(tmp_path), "--shot", "1", "2"]
    assert evaluate.main([*arguments, "--seeds", "2"]) == 0, capsys.readouterr().err
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["results"] == [] and [row["shot"] for row in metrics["k_shot"]] == [1, 2]
    assert metrics["k_shot"][0]["seeds"] == [9001, 9002] and "nAP50" in capsys.readouterr().out
    assert evaluate.main([*arguments, "--lists", str(tmp_path / "nowhere")]) == 2
    assert "no such list" in capsys.readouterr().err
    assert evaluate.main([*arguments, "--seeds", "2", "--finetune", "--way", "99"]) == 2
    assert "--way, --finetune: --seeds does not use them" in capsys.readouterr().err
    other = tmp_path / "other.yaml"
    other.write_text("tree: classification\n")
    assert evaluate.main([str(other), str(glyph_run)]) == 2
    assert "an experiment of the classification tree; run python -m classification.evaluate" in capsys.readouterr().err
    assert evaluate.main([*arguments, "--seeds", "2", "--episodes", "3"]) == 2
