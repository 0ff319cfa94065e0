"""What a detector's training step takes, in time and memory: with the compiled RoI layers, and against other detectors.

    python -m benchmarks.training [--out FILE] [--threads N] [--seconds S] [--only TEXT]

A step is forward, losses, backward and the optimiser's update on a batch that is already there: noise with random boxes.
In the first cases both ways train one and the same model in turn, on the same random numbers; the peer is what mmdet does
without kernels of ours: RoIAlign level by level with `use_torchvision=True`, NMS by torchvision. The others are whole
detectors of equal size (`benchmarks.detectors`). In the JSON the times are those of a step and `images` is the size of its
batch, so that images/s are 1000 images / ms; `ours_mib` and `peer_mib` are what model and steps add to the memory of a
process that does nothing else.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch

from repmet.benchmarks.detectors import EXPERIMENTS, PAIRS, Pair, check_pair
from repmet.benchmarks.measure import Comparison, compare, environment, write_json
from repmet.benchmarks.memory import peak_memory
from repmet.model_definitions import roi_layers


@dataclass(frozen=True)
class Step:
    name: str
    experiment: str  # file in experiments
    classes: int
    images: int
    size: tuple[int, int]  # height, width in pixels
    boxes: int = 4  # objects per image


STEPS = (
    Step("demo's detector", "detection/demo.yaml", 400, 8, (192, 192)),
    Step("RepMet on ResNet-50 FPN", "published/detection/repmet_r50_fpn_voc07.yaml", 20, 2, (320, 480)),
)


@dataclass(frozen=True)
class StepComparison(Comparison):
    """Times of a training step on `images` images, and its memory."""

    images: int
    ours_mib: float | None = None
    peer_mib: float | None = None

    def per_second(self) -> tuple[float, float]:
        """Images a second, ours and the peer's."""
        return 1000 * self.images / self.ours_ms, 1000 * self.images / self.peer_ms


def random_batch(step: Step | Pair) -> dict:
    """What a data loader gives mmdet: a list of images (3, H, W) in uint8, and their boxes and labels."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    height, width = step.size
    samples = []
    for _ in range(step.images):
        corner = torch.rand(step.boxes, 2) * torch.tensor([width, height]) * 0.6
        far = corner + (0.15 + 0.2 * torch.rand(step.boxes, 2)) * torch.tensor([width, height])
        sample = DetDataSample(metainfo={"img_shape": step.size, "ori_shape": step.size, "scale_factor": (1.0, 1.0)})
        sample.gt_instances = InstanceData(
            bboxes=torch.cat([corner, far], dim=1), labels=torch.randint(0, step.classes, (step.boxes,))
        )
        samples.append(sample)
    return {"inputs": [torch.randint(0, 256, (3, *step.size), dtype=torch.uint8) for _ in samples], "data_samples": samples}


def build(step: Step) -> tuple[torch.nn.Module, object]:
    """The experiment's model as it is initialised, and its optimiser at a rate that leaves the weights where they are."""
    from repmet.experiments.config.loading import load_experiment

    cfg = load_experiment(EXPERIMENTS / step.experiment)
    from mmdet.registry import MODELS
    from mmengine.logging import MMLogger
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    MMLogger.get_current_instance().setLevel("WARNING")  # it would list every parameter's initialisation
    cfg.model.backbone.pop("init_cfg", None)  # no download
    cfg.model.roi_head.bbox_head.num_classes = step.classes
    cfg.optim_wrapper |= {"type": "OptimWrapper"}  # float32 on both sides: torchvision's layers know no bfloat16
    cfg.optim_wrapper.optimizer.lr = 1e-9
    model = MODELS.build(cfg.model)
    model.init_weights()
    if any(hook.type == "ChannelsLastHook" for hook in cfg.custom_hooks):
        model.to(memory_format=torch.channels_last)
    return model.train(), build_optim_wrapper(model, cfg.optim_wrapper)


def ways(step: Step) -> tuple[Callable[[], dict], Callable[[], dict]]:
    """One step with csrc and one with torchvision, on the same model, batch and random numbers; each returns its losses."""
    model, optimiser = build(step)
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

    batch, fused = random_batch(step), model.roi_head.bbox_roi_extractor
    first = fused.roi_layers[0]
    layer = {"type": "RoIAlign", "output_size": first.output_size, "sampling_ratio": first.sampling_ratio}
    stock = SingleRoIExtractor(
        layer | {"aligned": first.aligned, "use_torchvision": True},
        fused.out_channels,
        fused.featmap_strides,
        fused.finest_scale,
    )

    def train_step(extractor: torch.nn.Module) -> dict:
        torch.manual_seed(0)  # the samplers draw the same regions
        model.roi_head.bbox_roi_extractor = extractor
        return model.train_step(batch, optimiser)

    def by_torchvision() -> dict:
        with roi_layers.served_by_torchvision():
            return train_step(stock)

    return lambda: train_step(fused), by_torchvision


def check(step: Step, ours: dict, theirs: dict) -> None:
    """Raises AssertionError where the two ways do not train on the same losses."""
    for name, value in ours.items():
        torch.testing.assert_close(
            value.detach(), theirs[name].detach(), rtol=1e-2, atol=1e-3, msg=lambda text, n=name: f"{step.name}, {n}: {text}"
        )


def case_of(step: Step | Pair) -> str:
    return f"{step.name}, a training step of {step.images} images of {step.size[1]}x{step.size[0]}"


def built(step: Step | Pair, which: Sequence[int] = (0, 1)) -> list[Callable[[], dict]]:
    """The training steps of both ways, ours first; or one of them, so that the other takes no memory."""
    torch.manual_seed(0)
    if isinstance(step, Step):
        both = ways(step)
        return [both[i] for i in which]
    batch = random_batch(step)
    return [(step.ours, step.theirs)[i](batch) for i in which]


def step_memory(step: Step | Pair, which: int, threads: int) -> float:
    """MiB by which building and two steps of one way raise the greatest memory of a process of their own."""
    command = [sys.executable, "-m", "benchmarks.training", "--memory-of", f"{which}", step.name, "--threads", f"{threads}"]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(process.stdout.strip().splitlines()[-1])


def own_step_memory(step: Step | Pair, which: int) -> float:
    """`step_memory`, in this process; the first step makes gradients and momentum, the second meets them."""
    import repmet.detection.modules  # noqa: F401  (what both ways import is no part of it)

    before = peak_memory()
    (train,) = built(step, [which])
    train(), train()
    return peak_memory() - before


def format_rates(results: Sequence[StepComparison]) -> str:
    """Images a second and memory as a Markdown table."""
    head = ("case", "ours, images/s", "peer", "peer, images/s", "ratio", "spread", "ours, MiB", "peer, MiB")
    lines = ["| " + " | ".join(head) + " |", "|---|---:|---|---:|---:|---:|---:|---:|"]
    for r in results:
        ours, theirs = r.per_second()
        memory = " | ".join("–" if mib is None else f"{mib:.0f}" for mib in (r.ours_mib, r.peer_mib))
        lines.append(f"| {r.case} | {ours:.3g} | {r.peer} | {theirs:.3g} | {r.ratio:.2f}x | {r.iqr:.2f} | {memory} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[StepComparison]:
    parser = argparse.ArgumentParser(prog="benchmarks.training", description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--seconds", type=float, default=90.0, help="time for a case (default: 90)")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--memory-of", nargs=2, metavar=("WAY", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if roi_layers.backend() != "csrc":
        parser.error("csrc is not compiled: python setup.py build develop")
    threads = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    env, results = environment(), []
    if options.memory_of:
        way, name = options.memory_of
        print(own_step_memory(next(s for s in (*STEPS, *PAIRS) if s.name == name), int(way)))
        return []
    try:
        for step in (*STEPS, *PAIRS):
            if options.only not in case_of(step):
                continue
            ours, theirs = built(step)
            if isinstance(step, Pair):
                check_pair(step, ours, theirs)
            else:
                check(step, ours(), theirs())
            peer = step.peer if isinstance(step, Pair) else "torchvision"
            result = compare(case_of(step), ours, peer, theirs, seconds=options.seconds)
            del ours, theirs
            memory = [round(step_memory(step, way, options.threads), 1) for way in (0, 1)]
            results.append(StepComparison(**asdict(result), images=step.images, ours_mib=memory[0], peer_mib=memory[1]))
            if isinstance(step, Pair):
                print(f"{step.name}: {result.ratio:.2f}x of {step.peer}, at least {step.aim}x is the aim", flush=True)
    finally:
        torch.set_num_threads(threads)
    print(format_rates(results))
    if options.out:
        write_json(options.out, env, results)
    return results


if __name__ == "__main__":
    main()
