"""Evaluate a detector on classes that it has never seen, by episodes; and on its base classes.

    python -m detection.evaluate experiments/detection/demo.yaml work_dirs/demo
    python -m detection.evaluate EXPERIMENT.yaml CHECKPOINT --shot 1 5 10 --episodes 500 --seed 9001
    python -m detection.evaluate EXPERIMENT.yaml CHECKPOINT --episodes work_dirs/demo/episodes.json
    python -m detection.evaluate EXPERIMENT.yaml CHECKPOINT --data my_photos --shot 1 3 --query 2
    python -m detection.evaluate EXPERIMENT.yaml CHECKPOINT --seeds 30 --shot 1 2 3 5 10  # few-shot VOC's protocol
    torchrun --nproc-per-node 2 -m detection.evaluate EXPERIMENT.yaml CHECKPOINT     # the same figures, sooner
    python -m detection.evaluate EXPERIMENT.yaml CHECKPOINT --finetune \
        --cfg-options "episodes.methods=[repmet, np_repmet, baseline_roi, calibrated, baseline_ft, tfa_cosine]"

Every distinct image goes through the network once; the episodes are arithmetic on what is kept, in data/cache/embeddings, so
that a second evaluation of the same detector (another shot, way, rule) needs no network, and an interrupted one goes on.
Writes `metrics.json`, `episodes.json`, precision-recall curves and `pictures/` into the run folder.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from repmet.data.files.atomic import check_folder, write_json
from repmet.data.readers.annotated_folder import read_images
from repmet.detection.checkpoint import Detector, load_detector
from repmet.detection.embedding.embedded_image import SPACES
from repmet.detection.embedding.embedder import caching_embedder
from repmet.detection.embedding.views import with_views
from repmet.detection.episodes.episode import listed
from repmet.detection.episodes.published import read_published
from repmet.detection.episodes.sampling import Episodes, load_episodes, sample_episodes, save_episodes
from repmet.detection.pictures.episodes import write_curves, write_sheets
from repmet.detection.protocols.base_classes import base_class_map
from repmet.detection.protocols.episodic import Pools, evaluate_episodes, evaluate_finetuned
from repmet.detection.protocols.options import episode_file, episode_options, refuse_unread
from repmet.detection.protocols.report import (
    difference_table,
    differences,
    result_rows,
    table,
)
from repmet.detection.protocols.shot_lists import k_shot
from repmet.detection.scoring.finetune import check_trainable, finetune_rule
from repmet.detection.scoring.methods import DEFAULT_METHODS, Method, check_methods, spaces_of
from repmet.detection.scoring.representatives import base_representatives
from repmet.detection.scoring.rule import few_shot_rule
from repmet.errors import UserError, exit_code
from repmet.experiments.config.loading import check_tree, load_experiment
from repmet.experiments.config.suites import experiment_name
from repmet.experiments.running.checkpoints import latest_checkpoint
from repmet.experiments.running.processes import join, say
from repmet.experiments.running.provenance import origin

PROG = "python -m detection.evaluate"


def make_episodes(cfg: Config, pools: Pools, file: str | None) -> Episodes:
    """The episodes of a file, which then fixes way, shot and query; or drawn as the experiment says."""
    section, data = cfg.episodes, cfg.data
    support, query = list(pools.support.values()), list(pools.query.values())
    if file is not None:
        published = Path(file).suffix in (".pkl", ".npz")
        episodes = read_published(file, support, query) if published else load_episodes(file)
        episodes.check_against(support, query)
        if (shown := episodes.shown_queries()) and published:
            say(f"{file}: in {len(shown)} places a query image gives its episode a support, as it was published")
        elif shown:
            raise UserError(f"{file}: what was shown would have to be found; draw the episodes again\n" + listed(shown))
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


def evaluate(
    cfg: Config,
    checkpoint: Path,
    out: Path,
    *,
    episode_file: str | None = None,
    seeds: int = 0,
    lists: str | None = None,
    finetune: bool = False,
    typed: Sequence[str] = (),
    options: Sequence[str] = (),
) -> dict:
    """Runs the whole evaluation and returns what it wrote as `metrics.json`.

    Args:
        cfg: the experiment, not yet prepared.
        checkpoint: a file, or a run folder, of which the last is taken.
        out: the folder to write to.
        episode_file: a file of episodes in the place of the experiment's own drawing.
        seeds: of K-shot lists, in the place of episodes.
        lists: a folder of published K-shot lists, likewise.
        finetune: score the detector fine-tuned on each episode's supports too.
        typed: options of episodes that were typed: without novel classes nothing reads them.
        options: `--cfg-options` of the experiment, as typed.

    Raises:
        ValueError, FileNotFoundError: the data, the episodes or the checkpoint are not what the experiment says.
    """
    start = time.monotonic()
    detector = load_detector(cfg, latest_checkpoint(checkpoint) or checkpoint, options)
    data = detector.cfg.data
    if not data.novel_classes and not data.get("base_test"):
        raise UserError("nothing to evaluate: data.novel_classes is empty and data.base_test names no image list")
    if typed and not data.novel_classes:
        raise UserError(f"{', '.join(typed)}: there are no episodes without novel classes, and data.novel_classes is empty")
    by_lists = bool(seeds or lists)
    if by_lists and not data.novel_classes:
        raise UserError("K-shot lists need novel classes: data.novel_classes is empty")
    kshot = k_shot(detector, seeds, lists) if by_lists else []
    rows, paired = [], []
    if data.novel_classes and not by_lists:
        rows, paired = few_shot(detector, out, episode_file, finetune=finetune)
    base = base_class_map(detector) if not by_lists else None
    metrics = {
        "experiment": experiment_name(cfg.filename),
        "seed": cfg.episodes.seed if rows or kshot else None,
        **origin(),
        "seconds": round(time.monotonic() - start, 1),
        "training": detector.training,
        "rule": asdict(few_shot_rule(detector.cfg)) if rows or kshot else None,
        "results": rows,
        "differences": paired,
        "k_shot": kshot,
        "base": base,
    }
    if not is_main_process():
        return metrics
    write_json(out / "metrics.json", metrics)
    if base:
        print("\nbase classes, mAP %: " + ", ".join(f"{name} {100 * value:.1f}" for name, value in base.items()))
    print(f"\nwritten: {out / 'metrics.json'}" + (f"; look at {out / 'pictures'}" if rows else ""))
    return metrics


def few_shot(
    detector: Detector, out: Path, episode_file: str | None = None, *, finetune: bool = False
) -> tuple[list[dict], list[dict]]:
    """Evaluates on episodes of novel classes; prints the tables, writes episodes, curves and pictures.

    Returns:
        The rows of all methods, and their paired differences to RepMet.
    """
    cfg, data = detector.cfg, detector.cfg.data
    support = read_images(data.root, data.support, classes=data.novel_classes)
    one_pool = data.query == data.support  # a large one takes minutes to read
    pools = Pools.of(support, support if one_pool else read_images(data.root, data.query, classes=data.novel_classes))
    # What may have to refuse comes before the network runs.
    episodes = make_episodes(cfg, pools, episode_file)
    rule, methods = few_shot_rule(cfg), cfg.episodes.get("methods") or DEFAULT_METHODS
    check_methods(methods)
    finetuning = finetune_rule(cfg.get("finetune"))
    if finetune:
        check_trainable(detector.model)
    images = pools.used_by(episodes)
    say(f"embedding {len(images)} distinct images ...")
    embedder = caching_embedder(detector, SPACES if finetune else spaces_of(methods))
    embedded = with_views(embedder(images), pools.supports_of(episodes), embedder, rule.other_looks)
    say(f"{len(episodes.episodes)} episodes, {episodes.way}-way, shots {list(episodes.shots)} ...")
    base = base_representatives(detector.model.roi_head.bbox_head, rule)
    results = list(evaluate_episodes(episodes, pools, embedded, rule, methods=methods, seed=cfg.episodes.seed, base=base))
    if finetune:
        say(f"fine-tuning on each episode's supports ({finetuning.train}, {finetuning.epochs} epochs) ...")
        results += evaluate_finetuned(episodes, pools, embedded, rule, finetuning, detector, seed=cfg.episodes.seed)
    rows, paired = result_rows(results, episodes), differences(results, seed=cfg.episodes.seed)
    if not is_main_process():
        return rows, paired
    save_episodes(episodes, out / "episodes.json")
    print("\nnovel classes, %\n" + table(rows))
    if paired:
        print("\n" + difference_table(paired))
    write_curves(results, rows, out)
    for result in results:
        if result.method == "repmet":
            write_sheets(result, episodes, pools, embedded, Method("repmet", rule, base), out / "pictures")
    return rows, paired


def _flags(args: argparse.Namespace) -> dict[str, Any]:
    """The command line as changes of the experiment."""
    return {
        "data.root": args.data,
        "data.held_out": args.novel,
        "episodes.way": args.way,
        "episodes.shot": args.shot,
        "episodes.query": args.query,
        "episodes.seed": args.seed,
        "episodes.episodes": int(args.episodes) if args.episodes and args.episodes.isdigit() else None,
    }


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    description = __doc__.replace(PROG, prog)
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", metavar="EXPERIMENT.yaml")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a file, or a run folder for its last one")
    parser.add_argument(
        "--data", metavar="DIR", help="a VOC devkit, or any folder with VOC XML or COCO JSON, in the place of data.root"
    )
    parser.add_argument("--novel", metavar="N|A,B,...", help="classes of such a folder (default: all that are not base)")
    parser.add_argument("--episodes", metavar="N|FILE", help="how many to draw, or a file that fixes them")
    parser.add_argument("--way", type=int, metavar="N", help="classes of an episode")
    parser.add_argument("--shot", type=int, nargs="+", metavar="K", help="support boxes of a class; several are compared")
    parser.add_argument("--query", type=int, metavar="Q", help="query images of a class")
    parser.add_argument("--seed", type=int, help="of the episodes")
    parser.add_argument(
        "--seeds", type=int, default=0, metavar="N", help="few-shot VOC/COCO: N lists of K shots, no episodes"
    )
    parser.add_argument("--finetune", action="store_true", help="also fine-tune the detector on each episode's supports")
    parser.add_argument("--lists", metavar="DIR", help="few-shot VOC/COCO: published lists of K shots (seed0, seed1, ...)")
    parser.add_argument("--out", metavar="DIR", help="where to write (default: work_dirs/<experiment>)")
    parser.add_argument("--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change keys")
    args = parser.parse_args(argv)

    def command() -> None:
        join()
        refuse_unread(args)
        cfg = load_experiment(args.experiment, args.cfg_options, _flags(args))
        check_tree(cfg, args.experiment, "detection", "evaluate")
        out = Path(args.out) if args.out else Path("work_dirs") / experiment_name(args.experiment)
        if is_main_process():
            check_folder(out)
        asked = {"seeds": args.seeds, "lists": args.lists, "finetune": args.finetune, "typed": episode_options(args)}
        asked["options"] = args.cfg_options
        evaluate(cfg, Path(args.checkpoint), out, episode_file=episode_file(args), **asked)

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
