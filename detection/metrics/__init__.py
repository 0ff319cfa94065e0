"""Figures of few-shot and of ordinary detection from plain arrays: numpy only, no detector needed."""

from .base_map import base_metrics
from .episodic import EpisodicMetric, episodic_metrics
from .intervals import bootstrap_interval
from .jackknife import jackknife_interval
from .matching import Outcome

__all__ = [
    "EpisodicMetric",
    "Outcome",
    "base_metrics",
    "bootstrap_interval",
    "episodic_metrics",
    "jackknife_interval",
]
