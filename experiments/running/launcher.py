"""The one launcher that both trees train with: a YAML experiment becomes a Runner, and the command around it."""

import argparse
import copy
import inspect
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from repmet.data.files.atomic import make_folder
from repmet.errors import UserError, exit_code
from repmet.experiments.config.loading import check_experiment, check_tree, experiment_text, import_tree, load_experiment
from repmet.experiments.config.sections import RUNNER_KEYS
from repmet.experiments.config.suites import experiment_name
from repmet.experiments.running.checkpoints import latest_checkpoint
from repmet.experiments.running.mixed_precision import cpu_multiplies_bfloat16
from repmet.experiments.running.online_log import add_online_log
from repmet.experiments.running.processes import launched_by_torchrun, say
from repmet.experiments.running.runner import ExperimentRunner

Flags = Mapping[str, tuple]  # by flag, the key that it sets, a help text, and the type of its values if they are no text
_ARGUMENTS = set(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"}


def build_runner(
    cfg: Config, *, work_dir: str | Path | None = None, resume: bool | str | Path | None = None
) -> ExperimentRunner:
    """A Runner for an experiment, prepared by its tree; `train()` starts it.

    Args:
        cfg: from `load_experiment` or `experiment_of`; it is left as it is.
        work_dir: the run folder; `work_dirs/<experiment>` if neither this nor the experiment says.
        resume: True or "auto" to go on from the run folder's last checkpoint if there is one, or a checkpoint's path.

    Returns:
        The Runner; its attribute `cfg` holds the prepared configuration.

    Raises:
        ValueError, FileNotFoundError: from the tree's `prepare`, or for a checkpoint to resume from that is not there.
    """
    path = Path(cfg.filename) if cfg.filename else Path("experiment.yaml")
    name = cfg.get("experiment_name") or experiment_name(path)
    check_experiment(cfg.to_dict(), path)  # it may come from a checkpoint that somebody else wrote
    name_of_tree, tree = cfg.tree, import_tree(cfg.tree, path)
    text = experiment_text(cfg)
    cfg = copy.deepcopy(cfg)
    tree.prepare(cfg)
    facts = cfg.pop("checkpoint_meta", {})  # what the tree wants to find again in a checkpoint
    online_log = cfg.get("online_log")
    for section in cfg.keys() - RUNNER_KEYS:
        cfg.pop(section)
    cfg.work_dir = str(work_dir or cfg.get("work_dir") or Path("work_dirs") / name)
    cfg.experiment_name = name
    _set_defaults(cfg)
    resume_from = cfg.get("load_from") if cfg.get("resume") else None
    if resume is not None and resume is not False:
        cfg.resume = True
        resume_from = None if resume is True or resume == "auto" else str(resume)
    if resume_from and not Path(resume_from).is_file():
        raise FileNotFoundError(f"{resume_from}: no such checkpoint to resume from")
    make_folder(cfg.work_dir)
    if not cfg.get("resume") and (Path(cfg.work_dir) / "last_checkpoint").is_file():
        say(f"{cfg.work_dir} holds a run: its checkpoints are written over; --resume auto would go on with it")
    add_online_log(cfg, online_log, resume=bool(cfg.get("resume")))
    if cfg.randomness.get("deterministic"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    arguments = {key: value for key, value in cfg.items() if key in _ARGUMENTS}
    experiment = {**facts, "tree": name_of_tree, "name": name, "yaml": text}
    return ExperimentRunner(experiment=experiment, resume_from=resume_from, cfg=cfg, **arguments)


def _set_defaults(cfg: Config) -> None:
    """What holds for every run, whatever the experiment inherits."""
    cfg.setdefault("randomness", {})
    if cfg.randomness.get("seed") is None:
        cfg.randomness.seed = 0
    seed = cfg.randomness.seed
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UserError(f"randomness.seed (--seed) is a whole number from 0 to 2^32 - 1, not {seed!r}")
    for unit in ("max_epochs", "max_iters"):
        length = (cfg.get("train_cfg") or {}).get(unit)
        if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 1):
            raise UserError(f"train_cfg.{unit} is a whole number from 1, not {length!r}")
    hooks = list(cfg.get("custom_hooks") or [])
    present = {hook.get("type") for hook in hooks if isinstance(hook, Mapping)}
    hooks += [{"type": t} for t in ("ReseedHook", "TrainingRecordHook", "MeanLossHook", "FiniteHook") if t not in present]
    cfg.custom_hooks = hooks
    loader = cfg.get("train_dataloader")
    if isinstance(loader, Mapping):
        loader.setdefault("worker_init_fn", {"type": "seed_worker"})
        loader["persistent_workers"] = False  # workers that live on keep their random state, and a resume loses it
    cfg.setdefault("visualizer", {"type": "Visualizer", "vis_backends": [{"type": "TensorboardXVisBackend"}]})
    for backend in cfg.visualizer.get("vis_backends") or []:
        if backend.get("type") == "TensorboardXVisBackend":
            backend.setdefault("save_dir", str(Path(cfg.work_dir) / "tensorboard"))
    if launched_by_torchrun():
        cfg.launcher = "pytorch"
        cfg.setdefault("env_cfg", {})
        cfg.env_cfg["dist_cfg"] = {"backend": "nccl" if torch.cuda.is_available() else "gloo"} | dict(
            cfg.env_cfg.get("dist_cfg") or {}
        )


def train_command(
    tree: str,
    doc: str,
    arguments: Flags | None = None,
    argv: Sequence[str] | None = None,
    prog: str | None = None,
) -> int:
    """The body of `python -m <tree>.train`; returns the exit code.

    Args:
        tree: the tree that the experiment has to name.
        doc: the command's description.
        arguments: further options of the tree, as {"--data": ("data.root", "help")}: each sets a key of the experiment, to
            what is typed as it is; a third item gives it a type, such as int.
        argv: the command line; the process's own if None.
        prog: what the command was called by; `python -m <tree>.train` if None.
    """
    module = f"python -m {tree}.train"
    parser = _parser(tree, doc.replace(module, prog or module), arguments or {}, prog or module)
    args = parser.parse_args(argv)

    def run() -> None:
        logging.raiseExceptions = False  # a log file without room: the checkpoint's one line says so, no traceback a message
        runner = _runner_of(args, tree, arguments or {})
        runner.train()
        if runner.rank == 0:
            print(f"checkpoint: {latest_checkpoint(runner.work_dir)}")

    try:
        return exit_code(run)
    except KeyboardInterrupt:
        print(f"\ninterrupted; go on with: {parser.prog} {args.experiment} --resume auto", file=sys.stderr)
        return 130


def _parser(tree: str, doc: str, arguments: Flags, prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Several processes or GPUs: torchrun --nproc-per-node N -m "
        f"{tree}.train ... REPMET_TRACEBACK=1 shows where an error was raised.",
    )
    parser.add_argument("experiment", metavar="EXPERIMENT.yaml", help="the experiment to run")
    parser.add_argument("--work-dir", metavar="DIR", help="run folder (default: work_dirs/<experiment>)")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="auto|PATH",
        help="go on from the run folder's last checkpoint, or from a given one",
    )
    parser.add_argument(
        "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change keys; values are YAML"
    )
    parser.add_argument("--seed", type=int, help="seed of all random numbers (default: the experiment's, or 0)")
    parser.add_argument("--deterministic", action="store_true", help="deterministic algorithms on the GPU too")
    parser.add_argument(
        "--amp", action="store_true", help="mixed precision: float16 on a GPU, bfloat16 on a CPU that is quick in it"
    )
    for flag, (key, text, *kind) in arguments.items():
        parser.add_argument(flag, dest=key, help=text, type=kind[0] if kind else str)
    return parser


def _runner_of(args: argparse.Namespace, tree: str, arguments: Flags) -> ExperimentRunner:
    flags: dict[str, Any] = {key: getattr(args, key) for key, *_ in arguments.values()}
    flags |= {"randomness.seed": args.seed, "randomness.deterministic": args.deterministic or None}
    if args.amp:
        if not torch.cuda.is_available() and not cpu_multiplies_bfloat16():
            raise UserError(
                "--amp needs a CUDA GPU or a CPU with bfloat16 matrix units (AMX), and there is neither; leave it out"
            )
        flags["optim_wrapper.type"] = "AmpOptimWrapper" if torch.cuda.is_available() else "Bfloat16OptimWrapper"
    cfg = load_experiment(args.experiment, args.cfg_options, flags)
    check_tree(cfg, args.experiment, tree, "train")
    if "train_dataloader" not in cfg or "train_cfg" not in cfg or "optim_wrapper" not in cfg:
        missing = [k for k in ("train_dataloader", "train_cfg", "optim_wrapper") if k not in cfg]
        raise UserError(f"{args.experiment}: nothing to train: it has no section {' and no '.join(missing)}")
    return build_runner(cfg, work_dir=args.work_dir, resume=args.resume)
