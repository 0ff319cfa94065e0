"""What an evaluation leaves behind in figures: the rows of metrics.json and the printed tables."""

from collections.abc import Mapping, Sequence

import numpy as np

from repmet.detection.episodes.episode import Episodes
from repmet.detection.metrics import EpisodicMetric, bootstrap_interval, jackknife_interval
from repmet.detection.protocols.episodic import Result

FIGURES = ("repmet_pooled", "pooled_ap", "class_map", "episode_map", "recall")


def result_rows(results: Sequence[Result], episodes: Episodes) -> list[dict]:
    """One entry of `metrics.json` per method and shot, all figures fractions in [0, 1]."""
    rows = []
    for result in results:
        protocol = {
            "way": episodes.way,
            "shot": result.shot,
            "query": episodes.query,
            "episodes": len(episodes.episodes),
            "episode_hash": episodes.hash_for(result.shot),
            "finetune": result.method.endswith("_finetuned"),
        }
        row = {"protocol": protocol, "method": result.method, **result.metric.compute()}
        rows.append(row | ({"skipped_episodes": list(result.skipped)} if result.skipped else {}))
    return rows


def differences(results: Sequence[Result], *, reference: str = "repmet", seed: int = 0) -> list[dict]:
    """Episode mAP and pooled AP of every method minus the reference's on the same episodes, with 95 % intervals.

    Pairing takes out what makes an episode easy or hard for all methods. Episodes that one of the two skipped are left out
    of the episode mAP; there is then no difference in pooled AP.

    Returns:
        {"method", "reference", "shot", "episodes", "difference", "ci95", "pooled_difference", "pooled_ci95"}, figures in
        [-1, 1]. Episode mAP by the bootstrap, pooled AP by the jackknife over groups of episodes.
    """
    by_key = {(r.method, r.shot): r.metric for r in results}
    rows = []
    for (method, shot), metric in by_key.items():
        other = by_key.get((reference, shot))
        if method == reference or other is None:
            continue
        maps, reference_maps = _maps(metric), _maps(other)
        paired = np.array([maps[n] - reference_maps[n] for n in sorted(maps.keys() & reference_maps.keys())])
        paired = paired[~np.isnan(paired)]
        if not len(paired):
            continue
        row = {"method": method, "reference": reference, "shot": shot, "episodes": len(paired)}
        row |= {"difference": float(paired.mean()), "ci95": _within(bootstrap_interval(paired, seed=seed))}
        if maps.keys() == reference_maps.keys():
            pooled, pooled_reference = (m.compute(intervals=False)["repmet_pooled"] for m in (metric, other))
            difference = pooled - pooled_reference
            without = metric.pooled_without() - other.pooled_without()
            row |= {"pooled_difference": difference, "pooled_ci95": _within(jackknife_interval(difference, without))}
        rows.append(row)
    return rows


def _maps(metric: EpisodicMetric) -> dict[int, float]:
    """mAP by the number of the episode."""
    figures = metric.per_episode()
    return dict(zip(figures["episode"].tolist(), figures["map"].tolist(), strict=True))


def _within(interval: Sequence[float]) -> list[float]:
    return np.clip(interval, -1.0, 1.0).tolist()


def difference_table(rows: Sequence[Mapping]) -> str:
    """`differences` as text, in points of a hundred; a star where the interval does not hold 0."""
    columns = {"episode mAP": ("difference", "ci95"), "pooled AP": ("pooled_difference", "pooled_ci95")}
    head = "".join(f"{name:>13}{'95 % interval':>18}  " for name in columns)
    head = f"{'minus ' + rows[0]['reference']:<20}{'shot':>5}{head}".rstrip()
    lines = [head, "-" * len(head)]
    for row in rows:
        line = f"{row['method']:<20}{row['shot']:>5}"
        for figure, interval in columns.values():
            if figure in row:
                low, high = (100 * side for side in row[interval])
                star = "*" if low > 0 or high < 0 else ""
                line += f"{100 * row[figure]:>13.1f}{f'{low:.1f} to {high:.1f}':>18}{star:>2}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def table(rows: Sequence[Mapping]) -> str:
    """The rows as text, percent with the episode mAP's 95 % interval."""
    head = f"{'method':<20}{'shot':>5}" + "".join(f"{name:>15}" for name in FIGURES) + f"{'95 % interval':>17}"
    lines = [head, "-" * len(head)]
    for row in rows:
        low, high = row["episode_map_ci95"]
        figures = "".join(f"{100 * row[name]:>15.1f}" for name in FIGURES)
        interval = f"{100 * low:.1f} to {100 * high:.1f}"
        lines.append(f"{row['method']:<20}{row['protocol']['shot']:>5}{figures}{interval:>17}")
    return "\n".join(lines)
