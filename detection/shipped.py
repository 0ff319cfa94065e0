"""Weights that ship: what was trained after a frozen backbone, in one small file. The backbone comes from its own package.

    python -m detection.shipped work_dirs/photos --out models/weights/photos.safetensors

writes the trained part of a checkpoint, with its experiment and a digest of the backbone that it was trained on, and prints
the file's SHA-256.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repmet.data.files.atomic import write_atomically
from repmet.data.files.digest import sha256_of
from repmet.errors import UserError

if TYPE_CHECKING:  # which file ships is asked where there is no torch, too
    from torch import Tensor, nn

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "weights" / "photos.safetensors"
SHA256 = "64e1b65dd9f9956e90a09884b7ffd288dec545244ca8f1e742c1593ef1202965"  # of this file
FORMAT = "repmet-trained-part-1"
BACKBONE = "backbone."


def checked(path: Path) -> Path:
    """The file of shipped weights, if it is what was released.

    Raises:
        FileNotFoundError: the file is not in this installation.
        ValueError: the file is another one than was released.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no weights ship with this copy; name a checkpoint, such as the run folder of "
            "`python -m detection.train EXPERIMENT.yaml`"
        )
    if (digest := sha256_of(path)) != SHA256:
        raise UserError(f"{path}: not the weights that were released (SHA-256 {digest[:12]}...); fetch the file again")
    return path


def read_trained_part(path: str | Path) -> dict[str, Any]:
    """A file that `write_trained_part` wrote, as a checkpoint whose `state_dict` lacks the backbone.

    Returns:
        `state_dict`, `meta` as in a checkpoint, and `backbone`, the digest of the backbone's weights.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights")
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except SafetensorError as error:
        raise UserError(f"{path}: damaged, or no safetensors file ({error})") from None
    if facts.get("format") != FORMAT:
        raise UserError(f"{path}: holds no trained part of a detector ({FORMAT}); python -m detection.shipped writes one")
    meta = {"experiment": json.loads(facts["experiment"]), "training": json.loads(facts["training"])}
    return {"state_dict": state, "meta": meta, "backbone": facts["backbone"]}


def write_trained_part(checkpoint: str | Path, path: str | Path) -> str:
    """Writes the trained part of a checkpoint; returns the file's SHA-256.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: it embeds no experiment.
    """
    from safetensors.torch import save

    from repmet.experiments.running.checkpoints import latest_checkpoint, load_checkpoint
    from repmet.model_definitions.weights_digest import state_digest

    source = latest_checkpoint(checkpoint) or Path(checkpoint)
    loaded = load_checkpoint(source)
    experiment = loaded.get("meta", {}).get("experiment")
    if experiment is None or "state_dict" not in loaded:
        raise UserError(f"{source}: embeds no experiment, so it is no checkpoint of python -m detection.train")
    frozen, trained = _parts(loaded["state_dict"])
    facts = {
        "format": FORMAT,
        "experiment": json.dumps({**experiment, "yaml": _without_folders(experiment["yaml"])}),
        "training": json.dumps(loaded["meta"].get("training", {})),
        "backbone": state_digest(frozen),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = save({name: value.contiguous() for name, value in trained.items()}, facts)
    write_atomically(path, lambda file: file.write(data) and None)
    return sha256_of(path)


def with_backbone(loaded: Mapping[str, Any], model: nn.Module, path: str | Path) -> dict[str, Tensor]:
    """The whole state dict of a model whose backbone has the weights of its own package.

    Raises:
        ValueError: the backbone is another one than the rest was trained on.
    """
    from repmet.model_definitions.weights_digest import state_digest

    frozen = {name: value for name, value in model.state_dict().items() if name.startswith(BACKBONE)}
    if state_digest(frozen) != loaded["backbone"]:
        raise UserError(
            f"{path}: was trained on other weights of the backbone than are installed here; install the version of the "
            "package that models/weights/README.md names"
        )
    return {**frozen, **loaded["state_dict"]}


def _parts(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    frozen = {name: value for name, value in state.items() if name.startswith(BACKBONE)}
    return frozen, {name: value for name, value in state.items() if name not in frozen}


def _without_folders(text: str) -> str:
    """An experiment's text in which the sets of the training are named, not where they lay on the machine that trained."""
    from repmet.experiments.config.loading import experiment_text, parse_experiment

    cfg = parse_experiment(text, "the checkpoint's experiment")
    if isinstance(cfg.get("data"), list):
        cfg.data = [{**entry, "root": Path(entry["root"]).name} for entry in cfg.data]
    return experiment_text(cfg)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m detection.shipped", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="a checkpoint of a detector with a frozen backbone, or a run folder")
    parser.add_argument("--out", required=True, help="the file to write, NAME.safetensors")
    arguments = parser.parse_args(argv)
    try:
        digest = write_trained_part(arguments.checkpoint, arguments.out)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.out}: {Path(arguments.out).stat().st_size / 1e6:.1f} MB, sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
