"""mmengine's Runner with its traps mended: exact resume, atomic and safely read checkpoints, torchrun on the CPU."""

import contextlib
import copy
import itertools
import logging
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mmengine
import torch
import torch.distributed
from mmengine.dist import is_distributed, master_only
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from repmet.data.files.atomic import check_folder, write_text
from repmet.errors import UserError, one_line
from repmet.experiments.running import finite_hook, safe_loaders, schedules  # noqa: F401  (the first two register themselves)
from repmet.experiments.running.checkpoints import (
    check_weights,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from repmet.experiments.running.plain_values import history, plain, plain_hub, plain_state, to_cpu
from repmet.experiments.running.pretrained import check_pretrained

_in_this_process = itertools.count()


class ExperimentRunner(Runner):
    """Runs one experiment of one tree.

    Args:
        experiment: what the checkpoints embed: `tree`, `name`, `yaml` (the resolved text) and what the tree adds.
        resume_from: the checkpoint that `resume=True` goes on from; the run folder's last one, if there is one, by default.
        kwargs: as mmengine's `Runner`.
    """

    def __init__(self, *, experiment: Mapping[str, Any], resume_from: str | None = None, **kwargs: Any) -> None:
        self.experiment = plain(experiment, "experiment")
        self._scheduler_cfg = copy.deepcopy(kwargs.get("param_scheduler"))
        self._resumes_from = Path(resume_from) if resume_from else None
        self._resuming, self._loaded = False, {}
        super().__init__(**kwargs)

    # Set-up -----------------------------------------------------------------------------------------------------------

    def setup_env(self, env_cfg: dict) -> None:
        if self.distributed and not is_distributed() and not torch.cuda.is_available():
            torch.distributed.init_process_group(backend="gloo")  # mmengine's own would select a GPU
        super().setup_env(env_cfg)
        nth = next(_in_this_process)
        if nth:  # two runners within one second would share logger, visualizer and log folder
            self._timestamp = f"{self._timestamp}_{nth}"

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:  # the console; the file keeps all
                handler.addFilter(_tidy)
        return logger

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        optimizer = optim_wrapper.get("optimizer") if isinstance(optim_wrapper, Mapping) else None
        for key, value in optimizer.items() if isinstance(optimizer, Mapping) else ():
            if isinstance(value, str) and key != "type":  # torch compares it with a number, and names no key
                raise UserError(f"optim_wrapper.optimizer.{key} is no number: {value!r}")
        with _section("optim_wrapper"):
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        with _section("param_scheduler"):
            return super().build_param_scheduler(scheduler)

    @staticmethod
    def build_dataloader(dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        with _section("train_dataloader"):
            return Runner.build_dataloader(dataloader, *args, **kwargs)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        if self.distributed and not torch.cuda.is_available():
            unused = self.cfg.get("find_unused_parameters", False)
            model_wrapper_cfg = {"find_unused_parameters": unused, "broadcast_buffers": False} | (model_wrapper_cfg or {})
            model_wrapper_cfg["device_ids"] = None
        return super().wrap_model(model_wrapper_cfg, model)

    @master_only
    def dump_config(self) -> None:
        """Writes the resolved experiment into the run folder."""
        write_text(Path(self.work_dir) / f"{self.experiment['name']}.yaml", self.experiment["yaml"])

    # Training ---------------------------------------------------------------------------------------------------------

    def train(self) -> nn.Module:
        """Trains, from the beginning or from where `resume` says.

        Raises:
            FileNotFoundError: a pretrained weight or the checkpoint to resume from is missing.
            OSError: the run folder cannot be written to, or has no room for a checkpoint.
            ValueError: the checkpoint belongs to another experiment, or is no checkpoint of a training.
        """
        size = sum(p.numel() * p.element_size() for p in self.model.parameters())
        if self.rank == 0:
            check_folder(self.work_dir, room=2 * size)  # a checkpoint holds weights, and as much of the optimizer
        if self._resume and self._resumes_from is None:
            self._resumes_from = latest_checkpoint(self.work_dir)
        self._resume = self._resumes_from is not None
        if self._resumes_from is None:
            check_pretrained(self.cfg)
        else:
            self._take_over(load_checkpoint(self._resumes_from))
            self._load_from = str(self._resumes_from)
        return super().train()

    def _take_over(self, checkpoint: dict) -> None:
        """What has to be known before data and schedules are built: the seed and the earlier length."""
        path = self._resumes_from
        meta = checkpoint.get("meta")
        if not isinstance(meta, Mapping) or "optimizer" not in checkpoint or "iter" not in meta:
            raise UserError(f"{path}: holds weights alone, no state of a training; start from it with load_from={path}")
        model = self.model.module if is_model_wrapper(self.model) else self.model
        check_weights(model, checkpoint["state_dict"], path)
        for key in ("classes", "base_classes"):
            before, now = ((about or {}).get(key) for about in (meta.get("experiment"), self.experiment))
            if before and now and list(before) != list(now):
                changed = sorted(set(before) ^ set(now)) or list(now)
                raise UserError(f"{path}: was trained on other classes than the data have now ({', '.join(changed[:5])})")
        if meta.get("seed") != self.seed:
            self.logger.warning(f"{path} was trained with seed {meta['seed']}, not {self.seed}: it goes on with its own")
            self._randomness_cfg = {**self._randomness_cfg, "seed": meta["seed"]}
            self.set_randomness(**self._randomness_cfg)
        for unit, by_epoch in (("max_epochs", True), ("max_iters", False)):
            old, new = meta.get(unit), (self._train_loop or {}).get(unit)
            if old and new and old != new:
                self._scheduler_cfg = schedules.stretch(self._scheduler_cfg, old=old, new=new, by_epoch=by_epoch)
                self.param_schedulers = copy.deepcopy(self._scheduler_cfg)

    def _init_model_weights(self) -> None:
        if self._resumes_from is None:  # otherwise the checkpoint holds all of them, pretrained files need not be there
            super()._init_model_weights()

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> dict:
        checkpoint = super().load_checkpoint(filename, *args, **kwargs)
        hub = checkpoint.get("message_hub")
        if hub is not None:
            hub["log_scalars"] = OrderedDict((k, history(v)) for k, v in hub["log_scalars"].items())
        if self._resuming:  # else it would stay in memory as long as the training
            self._loaded = checkpoint
        return checkpoint

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """As mmengine's, but the schedules' parameters are the configuration's, not those of the checkpoint."""
        kwargs["resume_param_scheduler"] = False
        self._resuming = True
        super().resume(filename, *args, **kwargs)
        saved = self._loaded.pop("param_schedulers", None)
        self._resuming, self._loaded = False, {}
        if saved is None or self.param_schedulers is None:
            return
        wrappers = self.optim_wrapper if isinstance(self.optim_wrapper, OptimWrapperDict) else {"": self.optim_wrapper}
        schedulers = self.param_schedulers if isinstance(self.param_schedulers, dict) else {"": self.param_schedulers}
        saved = saved if isinstance(saved, dict) else {"": saved}
        for name, wrapper in wrappers.items():
            schedulers[name] = self._resume_schedule(name, wrapper, schedulers[name], saved.get(name, []))
        self.param_schedulers = schedulers if isinstance(self.param_schedulers, dict) else schedulers[""]

    def _resume_schedule(self, name: str, wrapper: OptimWrapper, schedulers: list, saved: list) -> list:
        if len(schedulers) == len(saved) and all(
            schedules.same_parameters(s, k) for s, k in zip(schedulers, saved, strict=True)
        ):
            for scheduler, state in zip(schedulers, saved, strict=True):
                schedules.load_position(scheduler, state)
            return schedulers
        self.logger.info("The schedule has changed since the checkpoint: it goes on as if it had always been this one")
        cfg = self._scheduler_cfg[name] if name and "type" not in self._scheduler_cfg else self._scheduler_cfg
        by_epoch = isinstance(self.train_loop, EpochBasedTrainLoop)
        return schedules.replay(
            wrapper,
            lambda: self._build_param_scheduler(copy.deepcopy(cfg), wrapper),
            iters=self.iter,
            iters_per_epoch=len(self.train_dataloader) if by_epoch else 0,
        )

    # Checkpoints ------------------------------------------------------------------------------------------------------

    @master_only
    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict | None = None,
        by_epoch: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        """Writes a checkpoint atomically, of plain values, with the experiment in `meta`."""
        model = self.model.module if is_model_wrapper(self.model) else self.model
        meta = dict(meta or {})
        meta.setdefault("epoch", self.epoch + 1 if by_epoch else self.epoch)
        meta.setdefault("iter", self.iter if by_epoch else self.iter + 1)
        meta |= {
            "experiment": self.experiment,
            "seed": self.seed,
            "max_epochs": self.max_epochs,
            "max_iters": self.max_iters,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": {"torch": torch.__version__, "mmengine": mmengine.__version__},
        }
        if hasattr(self.train_dataloader.dataset, "metainfo"):
            meta["dataset_meta"] = self.train_dataloader.dataset.metainfo
        checkpoint = {
            "meta": meta,
            "state_dict": OrderedDict((k, v.detach().cpu()) for k, v in model.state_dict().items()),
            "message_hub": plain_hub(self.message_hub.state_dict()),
        }
        if save_optimizer:
            checkpoint["optimizer"] = to_cpu(self.optim_wrapper.state_dict())
        if save_param_scheduler and self.param_schedulers is not None:
            schedulers = self.param_schedulers if isinstance(self.param_schedulers, dict) else {"": self.param_schedulers}
            states = {name: [plain_state(scheduler) for scheduler in each] for name, each in schedulers.items()}
            checkpoint["param_schedulers"] = states if isinstance(self.param_schedulers, dict) else states[""]
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
        save_checkpoint(checkpoint, Path(out_dir) / filename)


@contextlib.contextmanager
def _section(name: str) -> Iterator[None]:
    """Around what a library makes of a section: values that it refuses (a negative rate, say) are the experiment's."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, TypeError, AssertionError) as error:
        raise UserError(f"{name}: {one_line(error)}") from error


_CHATTER = ("Exp name", "Distributed training is not used", '"FileClient" will be', '"HardDiskBackend" is the', "Dataset ")


def _tidy(record: logging.LogRecord) -> bool:
    """Keeps from the console what fills pages (environment, configuration, the list of hooks) and tells a user nothing."""
    message = record.getMessage()
    return not message.startswith(_CHATTER) and (record.levelno > logging.INFO or message.count("\n") < 3)
