"""The compiled RoI layers against torchvision's, and mmcv's where it has kernels of its own.

    python -m benchmarks.ops [--out FILE] [--device cpu|cuda] [--threads N] [--seconds S] [--only TEXT]

Every case is checked before it is timed: on the CPU against the peer, on CUDA against csrc on the CPU, and the deterministic
gradients against a second run, bit for bit. The cases are in `benchmarks.ops_cases`.
"""

import argparse
import statistics
from collections.abc import Sequence

import torch

from repmet.benchmarks.measure import Comparison, compare, environment, format_table, write_json
from repmet.benchmarks.ops_cases import Case, cases, mmcv_ops
from repmet.model_definitions import roi_layers


def check(case: Case) -> None:
    """Raises AssertionError where the result is wrong or does not repeat: a quick wrong answer is worth nothing."""
    result, expected = case.ours(), case.expected()
    torch.testing.assert_close(
        result.cpu(),
        expected.cpu(),
        rtol=case.tolerance,
        atol=case.tolerance,
        msg=lambda text: f"{case.name}: {text}",
    )
    assert not case.repeatable or torch.equal(result, case.ours()), f"{case.name}: two runs differ"


def summary(results: Sequence[Comparison]) -> list[str]:
    """Geometric means against torchvision, of all and by kind, and the rows where we lose."""
    against = [r for r in results if r.peer == "torchvision"]
    kinds = {
        "all": against,
        "forward": [r for r in against if " forward, " in r.case],
        "forward + backward": [r for r in against if " forward + backward, " in r.case],
        "NMS": [r for r in against if r.case.startswith("NMS")],
    }
    lines = []
    for kind, rows in kinds.items():
        if rows:
            ratios = [r.ratio for r in rows]
            mean = statistics.geometric_mean(ratios)
            lines.append(
                f"geometric mean against torchvision, {kind}: {mean:.2f}x over {len(rows)} cases, least {min(ratios):.2f}x"
            )
    lost = [r for r in against if r.ratio < 1]
    lines += [f"slower than torchvision: {r.case}, {r.ratio:.2f}x" for r in lost]
    dear = [r for r in results if r.peer == "csrc, default" and r.ratio < 0.5]
    return lines + [f"more than twice the time of the default: {r.case}, {1 / r.ratio:.2f}x" for r in dear]


def main(arguments: list[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(prog="benchmarks.ops", description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--seconds", type=float, default=3.0, help="time for a case (default: 3)")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU")
    for device in {"cpu", options.device}:
        if roi_layers.backend(device) != "csrc":
            parser.error(f"csrc is not compiled for {device}: python setup.py build develop")
    if mmcv_ops() is None:
        print("mmcv is not among the peers: it is not installed with kernels of its own")
    threads = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    env, results = environment(options.device), []
    try:
        for case in cases(options.device):
            if options.only not in case.name:
                continue
            check(case)
            result = compare(case.name, case.ours, case.peer, case.theirs, seconds=options.seconds, device=options.device)
            results.append(result)
            print(f"{result.ratio:8.2f}x  {result.ours_ms:10.3f} ms  {result.peer_ms:10.3f} ms  {case.name}", flush=True)
    finally:
        torch.set_num_threads(threads)
    print("\n" + format_table(results) + "\n")
    print("\n".join(summary(results)))
    if options.out:
        write_json(options.out, env, results)
    return results


if __name__ == "__main__":
    main()
