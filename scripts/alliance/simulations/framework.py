"""What a simulation with known truth consists of, and what is told of it: bias, coverage, and their Monte Carlo errors.

Runs are made in blocks. A block's random numbers depend on the seed, the topic, the condition and the block's number only, so that any
block can be made again by itself and results do not depend on how many processes work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pandas as pd

from alliance.statistics.resampling import generator

BLOCK = 20
LEVEL = 0.95
SINGLE_SITE = (0.93, 0.97)
POOLED = (0.93, 1.0)

IDENTITY = ("estimand", "what", "estimate_type", "method", "interval")


@dataclass(frozen=True)
class Condition:
    """One set of true values and sizes; the parameters are columns of the topic's table."""

    name: str
    parameters: dict[str, int | float | str]


@dataclass(frozen=True)
class Intervals:
    """Estimates and 95 % intervals of one estimand by one method, one a run.

    Parameters
    ----------
    estimand : str
        What was estimated, such as ``r``.
    what : str
        The same in words for a sentence, plural.
    estimate_type : str
        Of the rows of result tables that this speaks to; empty where no table has such rows.
    method : str
        As in ``alliance.questions.contract.METHODS``.
    interval : str
        Kind of interval, as in ``alliance.questions.coverage.INTERVALS``.
    truth : float
        True value.
    estimate, low, high : ndarray, shape (runs,)
        NaN where the method gave none.
    error_ratio : tuple of ndarray, shape (runs,)
        Estimates on the scale of the standard error, and the standard errors.
    target : tuple of float
        Smallest and largest coverage that is good enough.
    aims : ndarray, shape (runs,), optional
        What the interval of each run should cover, where this is not ``truth``.
    """

    estimand: str
    what: str
    estimate_type: str
    method: str
    interval: str
    truth: float
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    error_ratio: tuple[np.ndarray, np.ndarray]
    target: tuple[float, float]
    aims: np.ndarray | None = None

    @property
    def identity(self) -> dict[str, str]:
        """What tells these intervals from others of the condition."""
        return {name: getattr(self, name) for name in IDENTITY}


def topic_name(topic: ModuleType) -> str:
    """Return the name of a topic from its module."""
    return topic.__name__.rsplit(".", 1)[-1]


def block(topic: ModuleType, condition: Condition, seed: int, number: int, runs: int = BLOCK) -> list[Intervals]:
    """Return the runs of one block of a condition."""
    return topic.simulate(condition, generator(seed, "simulation", topic_name(topic), condition.name, number), runs)


def condition_runs(topic: ModuleType, condition: Condition, seed: int, runs: int) -> list[Intervals]:
    """Return all runs of a condition, block after block.

    Raises
    ------
    ValueError
        ``runs`` is not a multiple of the block.
    """
    if runs < 1 or runs % BLOCK:
        raise ValueError(f"the number of runs must be a multiple of {BLOCK}, not {runs}")
    blocks = [block(topic, condition, seed, number) for number in range(runs // BLOCK)]
    return [joined(parts) for parts in zip(*blocks, strict=True)]


def joined(parts: Sequence[Intervals]) -> Intervals:
    """Return the runs of several blocks in one."""
    first = parts[0]
    return Intervals(
        **first.identity,
        truth=first.truth,
        estimate=np.concatenate([part.estimate for part in parts]),
        low=np.concatenate([part.low for part in parts]),
        high=np.concatenate([part.high for part in parts]),
        error_ratio=tuple(np.concatenate([part.error_ratio[side] for part in parts]) for side in (0, 1)),
        target=first.target,
        aims=None if first.aims is None else np.concatenate([part.aims for part in parts]),
    )


def _covered(result: Intervals) -> tuple[np.ndarray, np.ndarray]:
    """Return which runs have an interval, and which of all runs' intervals hold what they should."""
    usable = np.isfinite(result.estimate) & np.isfinite(result.low) & np.isfinite(result.high)
    aims = result.truth if result.aims is None else result.aims
    return usable, usable & (result.low <= aims) & (aims <= result.high)


def performance(result: Intervals) -> dict[str, float | int | str]:
    """Return bias, coverage and precision of one method; Monte Carlo errors as in Morris, White & Crowther (2019)."""
    usable, covered = _covered(result)
    n = int(usable.sum())
    numbers: dict[str, float | int | str] = {**result.identity, "truth": result.truth}
    estimate = result.estimate[usable]
    scaled, errors = (values[usable] for values in result.error_ratio)
    enough = n > 1
    coverage = covered.sum() / n if n else np.nan
    low, high = result.target
    return numbers | {
        "mean_estimate": estimate.mean() if n else np.nan,
        "bias": estimate.mean() - result.truth if n else np.nan,
        "bias_mc_error": estimate.std(ddof=1) / np.sqrt(n) if enough else np.nan,
        "coverage": coverage,
        "coverage_mc_error": np.sqrt(coverage * (1 - coverage) / n) if n else np.nan,
        "mean_width": (result.high[usable] - result.low[usable]).mean() if n else np.nan,
        "error_ratio": errors.mean() / scaled.std(ddof=1) if enough else np.nan,
        "runs": len(usable),
        "not_estimable": len(usable) - n,
        "target_low": low,
        "target_high": high,
        "meets_target": "yes" if low <= coverage <= high else "no",
    }


def first_block(result: Intervals) -> dict[str, float | int | str]:
    """Return numbers of one block that another machine can be asked to find again."""
    usable, covered = _covered(result)
    return {
        **result.identity,
        "mean_estimate": result.estimate[usable].mean() if usable.any() else np.nan,
        "mean_low": result.low[usable].mean() if usable.any() else np.nan,
        "mean_high": result.high[usable].mean() if usable.any() else np.nan,
        "covered": int(covered.sum()),
        "runs": len(usable),
        "not_estimable": int((~usable).sum()),
    }


def described(topic: str, condition: Condition, rows: Sequence[dict[str, float | int | str]]) -> pd.DataFrame:
    """Return rows with topic, condition and its parameters (as text) in front."""
    parameters = {name: value if isinstance(value, str) else f"{value:g}" for name, value in condition.parameters.items()}
    return pd.DataFrame([{"topic": topic, "condition": condition.name, **parameters, **row} for row in rows])
