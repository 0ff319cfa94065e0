"""Scalars of a training to Weights & Biases or Comet, beside the TensorBoard files, by one line of an experiment:

    online_log: {service: wandb, project: retrieval, group: cars196}

The run opens before the training does, so that a missing package, login or network stops it at once. A training that is
resumed goes on in its run: the key is kept as `online_log.json` in the run folder.
"""

import importlib.util
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import VISBACKENDS
from mmengine.visualization import BaseVisBackend

from repmet.data.files.atomic import write_text
from repmet.errors import UserError

MODES = ("online", "offline")
# By service: the package as it is imported, as it is installed, and what logs a user in.
SERVICES = {
    "wandb": ("wandb", "pip install wandb", "wandb login"),
    "comet": ("comet_ml", "pip install comet-ml", "comet login"),
}


def add_online_log(cfg: Config, section: Mapping[str, Any] | None, resume: bool) -> None:
    """Puts the section's backend beside the others of `cfg.visualizer`, TensorBoard's among them in any case; None leaves
    all as it is.

    Args:
        section: service, one of `SERVICES`, and: project (its name; the experiment's by default), group (of runs that
            belong together), name (of the run; the run folder's by default), mode: "online", or "offline" to write files
            into the run folder that the service's own command uploads later.
        resume: go on in the run folder's run.

    Raises:
        ValueError: an unknown service or mode; the package is not installed.
    """
    if not section:
        return
    service, mode = section.get("service"), section.get("mode") or "online"
    if service not in SERVICES or mode not in MODES:
        raise UserError(
            f"online_log takes service: {' or '.join(SERVICES)}, and mode: {' or '.join(MODES)}, "
            f"not {service!r} and {mode!r}"
        )
    package, install, _ = SERVICES[service]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:  # a folder of that name, such as W&B's own, is no package
        raise UserError(
            f"online_log.service={service} needs the package {package}, which is not installed: {install}; or leave it out: "
            "online_log=null (TensorBoard's files are written with or without it)"
        )
    folder = Path(cfg.work_dir)
    here = list(cfg.visualizer.get("vis_backends") or [])
    if all(backend.get("type") != "TensorboardXVisBackend" for backend in here):
        here.append({"type": "TensorboardXVisBackend", "save_dir": str(folder / "tensorboard")})
    cfg.visualizer.vis_backends = [
        *here,
        {
            "type": "OnlineLogBackend",
            "save_dir": str(folder),
            "service": service,
            "project": section.get("project") or cfg.experiment_name,
            "group": section.get("group"),
            "run_name": section.get("name") or folder.name,
            "mode": mode,
            "resume": resume,
        },
    ]


@VISBACKENDS.register_module()
class OnlineLogBackend(BaseVisBackend):
    """One run of a service; only the first of several processes has one.

    Arguments as for `add_online_log`, but for `run_name`: mmengine keeps `name` to itself.

    Raises:
        ConnectionError: the service does not open a run: nobody is logged in, or there is no network.
    """

    def __init__(
        self,
        save_dir: str,
        service: str,
        project: str,
        group: str | None = None,
        run_name: str | None = None,
        mode: str = "online",
        resume: bool = False,
    ) -> None:
        super().__init__(save_dir)
        self.service, self.project, self.group, self.run_name, self.mode = service, project, group, run_name, mode
        self.resume = resume
        self._run: Any = None

    def _init_env(self) -> None:
        """Nothing: the run opens with the configuration."""

    @property
    def experiment(self) -> Any:
        """The service's own run, for what this class does not log; None in other processes than the first."""
        return self._run

    def add_config(self, config: Config, **_: Any) -> None:
        if self._run is not None or not is_main_process():
            return
        folder = Path(self._save_dir)
        folder.mkdir(parents=True, exist_ok=True)
        key = self._key(folder / "online_log.json")
        open_run = _open_wandb if self.service == "wandb" else _open_comet
        try:
            self._run = open_run(self, key, config.to_dict())
        except Exception as error:  # each service has its own kinds, and those of its network library
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConnectionError(
                f"online_log: {self.service} does not open a run ({reason}). Log in ({SERVICES[self.service][2]}), or write "
                "its files here: online_log.mode=offline, or leave it out: online_log=null"
            ) from error

    def _key(self, path: Path) -> str:
        if self.resume and path.is_file():
            kept = json.loads(path.read_text())
            if kept.get("service") == self.service:
                return kept["key"]
        key = uuid.uuid4().hex
        write_text(path, json.dumps({"service": self.service, "key": key}) + "\n")
        return key

    def add_scalar(self, name: str, value: Any, step: int = 0, **_: Any) -> None:
        self.add_scalars({name: value}, step)

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **_: Any) -> None:
        if self._run is None:
            return
        scalars = {name: float(value) for name, value in scalar_dict.items() if not isinstance(value, str)}
        if self.service == "wandb":  # its own steps only rise, and validation may come after the next iteration
            self._run.log(scalars | {"iteration": step})
        else:
            self._run.log_metrics(scalars, step=step)

    def close(self) -> None:
        if self._run is not None:
            self._run.finish() if self.service == "wandb" else self._run.end()
            self._run = None


def _open_wandb(backend: OnlineLogBackend, key: str, config: dict) -> Any:
    import wandb

    run = wandb.init(
        project=backend.project,
        group=backend.group,
        name=backend.run_name,
        id=key,
        resume="allow" if backend.resume else None,
        mode=backend.mode,
        dir=backend._save_dir,
        config=config,
    )
    run.define_metric("iteration")
    run.define_metric("*", step_metric="iteration")
    return run


def _open_comet(backend: OnlineLogBackend, key: str, config: dict) -> Any:
    import comet_ml

    experiment = comet_ml.start(
        project_name=backend.project,
        experiment_key=key,
        online=backend.mode == "online",
        experiment_config=comet_ml.ExperimentConfig(
            name=backend.run_name,
            tags=[backend.group] if backend.group else None,
            offline_directory=backend._save_dir,
            log_code=False,
            display_summary_level=0,
        ),
    )
    experiment.log_parameters(config)
    if backend.group:
        experiment.log_other("group", backend.group)  # by which its tables group runs
    return experiment
