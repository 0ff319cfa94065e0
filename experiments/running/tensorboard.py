"""TensorBoard event files, written by tensorboardX."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import VISBACKENDS
from mmengine.visualization import BaseVisBackend
from tensorboardX import SummaryWriter


class _EventsWhileThereIsRoom:
    """tensorboardX's writer, which stops with a warning at the first error of the disk.

    The error would end tensorboardX's thread, and once its queue of ten events is full the training would wait for ever.
    """

    def __init__(self, writer: Any) -> None:
        self._writer, self._stopped = writer, False

    def write_event(self, event: Any) -> None:
        self._unless_full(self._writer.write_event, event)

    def flush(self) -> None:
        self._unless_full(self._writer.flush)

    def close(self) -> None:
        self._unless_full(self._writer.close)

    def _unless_full(self, do: Callable[..., object], *arguments: Any) -> None:
        if self._stopped:
            return
        try:
            do(*arguments)
        except OSError as error:
            self._stopped = True
            warnings.warn(f"{self._writer._file_name}: no more events are written: {error.strerror}", stacklevel=2)


@VISBACKENDS.register_module()
class TensorboardXVisBackend(BaseVisBackend):
    """Writes scalars, images and embeddings as event files.

    The file is opened at the first value, at whose step earlier values of a killed run end.

    Args:
        save_dir: folder of the event files; the launcher sets `<run folder>/tensorboard`.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir)
        self._writer: SummaryWriter | None = None
        self._config = ""

    def _init_env(self) -> None:
        self.writer(0)

    def writer(self, step: int) -> SummaryWriter:
        if self._writer is None:
            Path(self._save_dir).mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(self._save_dir, purge_step=step or None, write_to_disk=is_main_process())
            files = self._writer.file_writer
            if files is not None and hasattr(files, "event_writer"):  # of the process that writes
                events = files.event_writer
                events._ev_writer = events._worker._record_writer = _EventsWhileThereIsRoom(events._ev_writer)
            self._writer.add_text("experiment", self._config)
        return self._writer

    @property
    def experiment(self) -> SummaryWriter:
        return self.writer(0)

    def add_config(self, config: Config, **_: Any) -> None:
        self._config = "    " + config.pretty_text.replace("\n", "\n    ")  # as code, in Markdown

    def add_scalar(self, name: str, value: Any, step: int = 0, **_: Any) -> None:
        if isinstance(value, int | float | np.number) or (isinstance(value, torch.Tensor | np.ndarray) and value.size):
            self.writer(step).add_scalar(name, float(value), step)

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **_: Any) -> None:
        for name, value in scalar_dict.items():
            self.add_scalar(name, value, step)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **_: Any) -> None:
        """`image` (H, W, 3), RGB."""
        self.writer(step).add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
