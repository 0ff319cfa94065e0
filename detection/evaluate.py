"""Evaluate a detector on classes that it has never seen, by episodes; and on its base classes.

    python -m detection.evaluate experiments/detection/demo.yaml work_dirs/demo
    python -m detection.evaluate EXPERIMENT.yaml CHECKPOINT --shot 1 5 10 --episodes 500 --seed 9001
    python -m detection.evaluate EXPERIMENT.yaml CHECKPOINT --episodes work_dirs/demo/episodes.json

Every distinct image goes through the network once; the episodes are arithmetic on what is kept. Writes `metrics.json`,
`episodes.json`, precision-recall curves and `pictures/` into the run folder.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from mmengine.config import Config

from data.voc import read_image_set
from detection.base_classes import base_class_map
from detection.detector import Detector, load_detector
from detection.embed import Embedder
from detection.episodes import Episodes, load_episodes, sample_episodes, save_episodes
from detection.evaluation import Pools, evaluate_episodes
from detection.fewshot import FewShotRule
from detection.report import result_rows, table, write_curves, write_json, write_sheets
from experiments.checkpoints import latest_checkpoint
from experiments.config import load_experiment
from experiments.provenance import git_revision, machine, versions


def few_shot_rule(cfg: Config) -> FewShotRule:
    """The experiment's `episodes` section with the head's own sigma and scale."""
    head, section = cfg.model.roi_head.bbox_head, cfg.episodes
    trained = {key: head[key] for key in ("sigma", "scale") if key in head}
    asked = {f.name: section[f.name] for f in fields(FewShotRule) if f.name in section}
    return FewShotRule(**trained, **asked)


def make_episodes(cfg: Config, pools: Pools, given: str | None) -> Episodes:
    """The episodes of a file, which then fixes way, shot and query; or drawn as the experiment says."""
    section, data = cfg.episodes, cfg.data
    support, query = list(pools.support.values()), list(pools.query.values())
    if given is not None:
        episodes = load_episodes(given)
        episodes.check_against(support, query)
        return episodes
    return sample_episodes(
        support,
        query,
        way=section.way,
        shots=[section.shot] if isinstance(section.shot, int) else section.shot,
        query_images=section.query,
        episodes=section.episodes,
        seed=section.seed,
        classes=data.novel_classes,
        names={"support": [data.support], "query": [data.query]},
    )


def evaluate(cfg: Config, checkpoint: Path, out: Path, *, episode_file: str | None = None) -> dict:
    """Runs the whole evaluation and returns what it wrote as `metrics.json`.

    Args:
        cfg: the experiment, not yet prepared.
        checkpoint: a file, or a run folder, of which the last is taken.
        out: the folder to write to.
        episode_file: a file of episodes in the place of the experiment's own drawing.

    Raises:
        ValueError, FileNotFoundError: the data, the episodes or the checkpoint are not what the experiment says.
    """
    start = time.monotonic()
    detector = load_detector(cfg, latest_checkpoint(checkpoint) or checkpoint)
    data = detector.cfg.data
    if not data.novel_classes and not data.get("base_test"):
        raise ValueError("nothing to evaluate: data.novel_classes is empty and data.base_test names no image list")
    rows = few_shot(detector, out, episode_file) if data.novel_classes else []
    out.mkdir(parents=True, exist_ok=True)
    base = base_class_map(detector)
    metrics = {
        "experiment": Path(cfg.filename).stem,
        "seed": cfg.episodes.seed if rows else None,
        "git": git_revision(),
        "versions": versions(),
        "machine": machine(),
        "seconds": round(time.monotonic() - start, 1),
        "training": detector.training,
        "rule": asdict(few_shot_rule(detector.cfg)) if rows else None,
        "results": rows,
        "base": base,
    }
    write_json(metrics, out / "metrics.json")
    if base:
        print("\nbase classes, mAP %: " + ", ".join(f"{name} {100 * value:.1f}" for name, value in base.items()))
    print(f"\nwritten: {out / 'metrics.json'}" + (f"; look at {out / 'pictures'}" if rows else ""))
    return metrics


def few_shot(detector: Detector, out: Path, episode_file: str | None = None) -> list[dict]:
    """Evaluates on episodes of novel classes; prints the table, writes episodes, curves and pictures, returns the rows."""
    cfg, data = detector.cfg, detector.cfg.data
    pools = Pools.of(
        read_image_set(data.root, data.support, classes=data.novel_classes),
        read_image_set(data.root, data.query, classes=data.novel_classes),
    )
    episodes = make_episodes(cfg, pools, episode_file)  # before the network runs: it may have to refuse
    embedder = Embedder(detector.model, cfg.test_pipeline, seed=cfg.episodes.seed)
    out.mkdir(parents=True, exist_ok=True)
    save_episodes(episodes, out / "episodes.json")
    images = pools.used_by(episodes)
    print(f"embedding {len(images)} distinct images ...", flush=True)
    embedded = embedder(images)
    print(f"{len(episodes.episodes)} episodes, {episodes.way}-way, shots {list(episodes.shots)} ...", flush=True)
    rule = few_shot_rule(cfg)
    results = list(evaluate_episodes(episodes, pools, embedded, rule, seed=cfg.episodes.seed))
    rows = result_rows(results, episodes)
    print("\nnovel classes, %\n" + table(rows))
    write_curves(results, rows, out)
    for result in results:
        if result.method == "repmet":
            write_sheets(result, episodes, pools, embedded, rule, out / "pictures")
    return rows


def _options(args: argparse.Namespace) -> list[str]:
    """The command line as changes of the experiment."""
    wanted = {
        "data.root": args.data,
        "episodes.way": args.way,
        "episodes.shot": args.shot,
        "episodes.query": args.query,
        "episodes.seed": args.seed,
        "episodes.episodes": int(args.episodes) if args.episodes and args.episodes.isdigit() else None,
    }
    return list(args.cfg_options) + [f"{key}={value}" for key, value in wanted.items() if value is not None]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m detection.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", metavar="EXPERIMENT.yaml")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a file, or a run folder for its last one")
    parser.add_argument("--data", metavar="DIR", help="folder in VOC layout, in the place of the experiment's data.root")
    parser.add_argument("--episodes", metavar="N|FILE", help="how many to draw, or a file that fixes them")
    parser.add_argument("--way", type=int, metavar="N", help="classes of an episode")
    parser.add_argument("--shot", type=int, nargs="+", metavar="K", help="support boxes of a class; several are compared")
    parser.add_argument("--query", type=int, metavar="Q", help="query images of a class")
    parser.add_argument("--seed", type=int, help="of the episodes")
    parser.add_argument("--out", metavar="DIR", help="where to write (default: work_dirs/<experiment>)")
    parser.add_argument("--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change keys")
    args = parser.parse_args(argv)
    episode_file = args.episodes if args.episodes and not args.episodes.isdigit() else None
    fixed = [f"--{name}" for name in ("way", "shot", "query", "seed") if getattr(args, name) is not None]
    try:
        if episode_file and fixed:
            raise ValueError(f"{' '.join(fixed)}: the episode file {episode_file} fixes these; leave them out")
        cfg = load_experiment(args.experiment, _options(args))
        out = Path(args.out) if args.out else Path("work_dirs") / Path(args.experiment).stem
        evaluate(cfg, Path(args.checkpoint), out, episode_file=episode_file)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
