"""Few-shot classification against easyfsl, and the refresh of Magnet's cluster index against scikit-learn's k-means.

    python -m benchmarks.episodes [--data DIR] [--out FILE] [--episodes N] [--peer-episodes N] [--threads N] [--seconds S]

Training: an episode of 60 ways, 1 shot and 5 queries, forward, backward and step. Evaluation: 5 ways, 1 shot, 15 queries,
from the image files to the accuracy of `--episodes` episodes; easyfsl, whose time grows with the episodes, is measured on
`--peer-episodes` of them. Both sides read the same files, Omniglot's where `--data` or REPMET_DATA holds its archives, and
run the same conv4; it is checked that they see equal pixels and are right equally often on equal episodes. We train as the
shipped experiments do, in bfloat16 where the CPU has matrix units for it; a case of its own has float32 on both sides. The
process keeps freed memory, as the launcher has it, which quickens easyfsl as well. Where easyfsl is not installed, its cases
are left out.
"""

import argparse
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.utils.data import DataLoader

from repmet.benchmarks import image_folders
from repmet.benchmarks.cluster_refresh import refresh_cases
from repmet.benchmarks.measure import Comparison, compare, environment, format_table, write_json
from repmet.classification.inputs.dataset import ImageSet, as_gathered
from repmet.classification.inputs.samplers import EpisodeBatchSampler
from repmet.classification.methods import ProtoNet
from repmet.classification.metrics.episodes import Episodes, episode_accuracies, sample_episodes
from repmet.classification.protocols.embedding import embed_split
from repmet.experiments.reporting.intervals import mean_interval
from repmet.experiments.running.allocator import keep_freed_memory
from repmet.experiments.running.mixed_precision import Bfloat16OptimWrapper, cpu_multiplies_bfloat16

SIZE = 28  # pixels
TRAIN, TEST = (60, 1, 5), (5, 1, 15)  # way, shot, query
PER_CALL = 10  # training episodes a measurement
CALLS = 7  # that `compare` makes with five rounds, warming up and counting included
TARGETS = {"training": 2, "evaluation from files": 30, "k-means": 3}
INSTALL = (
    "easyfsl is not installed; its cases are left out. Into a folder of its own, with what torch does not bring:\n"
    "    python -m pip install --no-deps --target PEERS easyfsl==1.5.0 pandas tqdm\n"
    "    PYTHONPATH=PEERS python -m benchmarks.episodes"
)


def images_of(folder: Path) -> ImageSet:
    return ImageSet("image_folder", str(folder), "all", transform=[{"type": "InkIsOne"}], size=SIZE)


def proto_net() -> ProtoNet:
    way, shot, _ = TRAIN
    return ProtoNet({"type": "Conv4", "in_channels": 3, "image_size": SIZE}, way=way, shot=shot)


def published_conv4(encoder: nn.Module) -> nn.Sequential:
    """conv4 as it is published and commonly written (bias, ReLU before pooling), with the weights of ours."""
    layers: list[nn.Module] = []
    modules = [module for module in encoder.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    for conv, norm in zip(modules[::2], modules[1::2], strict=True):
        plain = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1)
        copy = nn.BatchNorm2d(conv.out_channels)
        copy.load_state_dict(norm.state_dict())
        with torch.no_grad():
            plain.weight.copy_(conv.weight)
            plain.bias.zero_()
        layers += [plain, copy, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten())


class Trainer:
    """Our side of the training: the loader, the method and mmengine's optimizer, as the launcher puts them together."""

    def __init__(self, images: ImageSet, method: ProtoNet, wrapper: type[OptimWrapper] = Bfloat16OptimWrapper) -> None:
        way, shot, query = TRAIN
        sampler = EpisodeBatchSampler(SimpleNamespace(dataset=images), way=way, shot=shot, query=query, episodes=PER_CALL)
        self.loader = DataLoader(images, batch_sampler=sampler, collate_fn=as_gathered)
        self.method, self.optimizer = method, wrapper(optimizer=torch.optim.Adam(method.parameters(), lr=1e-3))

    def __call__(self) -> None:
        self.method.train()
        for batch in self.loader:
            self.method.train_step(batch, self.optimizer)


def training_cases(folder: Path, threads: int, seconds: float) -> Iterator[Comparison]:
    from repmet.benchmarks import easyfsl_peer as easyfsl

    images, theirs = images_of(folder), easyfsl.image_set(folder, SIZE)
    check_pixels(images, theirs)
    ours, published = "conv4 of ours", "conv4 as published"
    shipped = "training in bfloat16" if cpu_multiplies_bfloat16() else "training in float32"
    for case, wrapper, network, workers in (
        (shipped, Bfloat16OptimWrapper, ours, 0),
        (shipped, Bfloat16OptimWrapper, published, 0),
        (shipped, Bfloat16OptimWrapper, published, threads),
        ("equal precision: training in float32", OptimWrapper, ours, 0),
    ):
        method = proto_net()
        encoder = proto_net().encoder if network == ours else published_conv4(method.encoder)
        model = easyfsl.PrototypicalNetworks(encoder)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        episodes = easyfsl.loader(theirs, *TRAIN, PER_CALL, workers)
        peer = f"easyfsl in float32, {network}" + (f", {workers} loading processes" if workers else "")
        yield scaled(
            compare(
                f"{case}, 60-way 1-shot 5-query, an episode",
                Trainer(images, method, wrapper),
                peer,
                lambda m=model, o=optimizer, e=episodes: easyfsl.train(m, o, e),
                seconds=seconds,
            ),
            1 / PER_CALL,
            1 / PER_CALL,
        )


def evaluation_cases(folder: Path, method: ProtoNet, number: int, peer_number: int) -> Iterator[Comparison]:
    from repmet.benchmarks import easyfsl_peer as easyfsl

    way, shot, query = TEST
    theirs = easyfsl.image_set(folder, SIZE)
    images = images_of(folder)
    check_pixels(images, theirs)
    model = easyfsl.PrototypicalNetworks(method.encoder)
    embeddings = embed_split(method, images)
    check_episodes(embeddings, images.labels, easyfsl, theirs, model)

    def ours_from_files() -> Tensor:
        images = images_of(folder)
        return episode_accuracies(embed_split(method, images), sample_episodes(images.labels, way, shot, query, number, 0))

    def ours_from_embeddings() -> Tensor:
        return episode_accuracies(embeddings, sample_episodes(images.labels, way, shot, query, number, 0))

    features = easyfsl.feature_set(embeddings, images.labels)
    same = easyfsl.PrototypicalNetworks()
    each = max(2, peer_number // CALLS)  # episodes a call
    for case, ours, loader, peer in (
        ("evaluation from files", ours_from_files, easyfsl.loader(theirs, *TEST, each), model),
        ("evaluation from embeddings", ours_from_embeddings, easyfsl.loader(features, *TEST, each), same),
    ):
        accuracies: list[float] = []
        result = compare(
            f"{case}, {way}-way {shot}-shot {query}-query, {number} episodes",
            ours,
            f"easyfsl ({CALLS * each} episodes measured)",
            lambda f=accuracies, p=peer, e=loader: f.extend(easyfsl.accuracies(p, e)),
            rounds=(5, 5),
        )
        mine, other = mean_interval(ours()), mean_interval(accuracies)
        print(
            f"    accuracy: ours {100 * mine.mean:.2f} +- {100 * mine.ci95:.2f} over {mine.n} episodes, "
            f"easyfsl {100 * other.mean:.2f} +- {100 * other.ci95:.2f} over {other.n}"
        )
        yield scaled(result, 1, number / each)


def check_pixels(images: ImageSet, theirs) -> None:
    """Raises AssertionError unless both sides see the same images under the same labels."""
    if images.labels.tolist() != theirs.get_labels():
        raise AssertionError("the two libraries number the images differently")
    chosen = list(range(0, len(images), max(1, len(images) // 50)))
    torch.testing.assert_close(images.__getitems__(chosen)["inputs"], torch.stack([theirs[i][0] for i in chosen]))


def check_episodes(embeddings: Tensor, labels: Tensor, easyfsl, theirs, model, episodes: int = 20) -> None:
    """Raises AssertionError unless both sides are right equally often, episode by episode, but for one query."""
    way, shot, query = TEST
    loader = easyfsl.loader(theirs, *TEST, episodes)
    drawn = torch.tensor(list(loader.batch_sampler)).unflatten(1, (way, shot + query))
    same_episodes = Episodes(labels[drawn[:, :, 0]], drawn[:, :, :shot], drawn[:, :, shot:])
    same_episodes.check(labels)
    batches = [loader.collate_fn([theirs[i] for i in images]) for images in drawn.flatten(1).tolist()]
    other = torch.tensor(list(easyfsl.accuracies(model, batches)))
    mine = episode_accuracies(embeddings, same_episodes).to(other.dtype)
    torch.testing.assert_close(mine, other, rtol=0, atol=1.01 / (way * query))


def scaled(result: Comparison, ours: float, theirs: float) -> Comparison:
    """The row with the two times multiplied, for calls that do more or less than the case says."""
    factor = theirs / ours
    return replace(
        result,
        ours_ms=result.ours_ms * ours,
        peer_ms=result.peer_ms * theirs,
        ratio=result.ratio * factor,
        iqr=result.iqr * factor,
    )


def cases(folder: Path, options: argparse.Namespace) -> Iterator[Comparison]:
    if importlib.util.find_spec("easyfsl") is None:
        print(INSTALL)
    else:
        if options.only in "training":
            yield from training_cases(folder / "train", options.threads, options.seconds)
        if options.only in "evaluation":
            method = proto_net()
            trainer = Trainer(images_of(folder / "train"), method)
            for _ in range(options.train // PER_CALL):
                trainer()
            yield from evaluation_cases(folder / "test", method, options.episodes, options.peer_episodes)
    if options.only in "k-means":
        yield from refresh_cases(options.threads, options.seconds)


def main(arguments: list[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(prog="benchmarks.episodes", description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--data", default=os.environ.get("REPMET_DATA"), help="folder of Omniglot's archives")
    parser.add_argument("--episodes", type=int, default=10_000, help="episodes of an evaluation (default: 10000)")
    parser.add_argument("--peer-episodes", type=int, default=1000, help="of them, how many easyfsl runs (default: 1000)")
    parser.add_argument("--train", type=int, default=50, help="episodes that the evaluated encoder learns (default: 50)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--seconds", type=float, default=20.0, help="time for a case (default: 20)")
    parser.add_argument("--only", choices=("", "training", "evaluation", "k-means"), default="", help="these cases alone")
    options = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    keep_freed_memory()
    env, results = environment(), []
    try:
        with tempfile.TemporaryDirectory() as folder:
            if options.only != "k-means" and importlib.util.find_spec("easyfsl"):
                env["images"] = image_folders.lay_out(options.data, Path(folder))
            for result in cases(Path(folder), options):
                results.append(result)
                print(
                    f"{result.ratio:8.2f}x  {result.ours_ms:10.4g} ms  {result.peer_ms:10.4g} ms  {result.case}", flush=True
                )
    finally:
        torch.set_num_threads(threads)
    print("\n" + format_table(results) + "\n")
    for kind, target in TARGETS.items():
        if ratios := [result.ratio for result in results if result.case.startswith(kind)]:
            print(f"{kind}: {min(ratios):.2f}x at least, {target}x is the aim")
    if options.out:
        write_json(options.out, env, results)
    return results


if __name__ == "__main__":
    main()
