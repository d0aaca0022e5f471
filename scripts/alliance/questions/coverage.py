"""How often 95 % intervals held the truth in simulations, in words that stand beside the names of methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path

FOLDER = "docs/simulations"
INTERVALS = {
    "jackknife": "95 % intervals that leave out each therapist in turn",
    "sandwich": "95 % intervals from the sandwich standard error",
    "expanded_percentile": "95 % bootstrap intervals",
    "guarded_hartung_knapp": "95 % guarded Hartung-Knapp intervals",
    "hartung_knapp": "95 % Hartung-Knapp intervals",
    "z": "95 % normal intervals",
    "prediction": "95 % prediction intervals",
    "difference": "95 % intervals of the difference of two guarded Hartung-Knapp means",
    "t": "95 % intervals of slopes of therapists' means by t (therapists - 2)",
    "satterthwaite": "95 % intervals of mixed models by t (Satterthwaite)",
    "bca": "95 % bias-corrected and accelerated bootstrap intervals",
    "exact": "95 % exact intervals",
    "profile": "95 % profile-likelihood intervals",
    "clustered_score": "95 % score intervals that respect therapists",
    "delta": "95 % intervals by the delta method",
    "monte_carlo": "95 % Monte Carlo intervals",
    "fieller": "95 % intervals by Fieller's method",
    "rubin": "95 % intervals by Rubin's rules",
    "wald": "95 % normal intervals of hazard models",
    "acceptance": "what tests at 5 % accept",
    "power": "what tests at 5 % accept where there is an effect (100 % minus this is their power)",
}


@dataclass(frozen=True)
class Coverage:
    """Coverage of one kind of interval over the conditions of a simulation.

    Parameters
    ----------
    method : str
        As in ``alliance.questions.contract.METHODS``.
    interval : str
        One of :data:`INTERVALS`.
    what : str
        What was estimated, in words.
    estimate_types : tuple of str
        Of the rows of result tables it speaks to.
    lowest, highest : float
        Smallest and largest coverage (0-1) over estimands and conditions.
    mc_error : float
        Largest Monte Carlo standard error of a coverage.
    low, high : float
        Bounds of good enough coverage.
    below, above, cases : int
        How many coverages lie below and above these bounds, of how many.
    runs : int
        Runs a condition.
    """

    method: str
    interval: str
    what: str
    estimate_types: tuple[str, ...]
    lowest: float
    highest: float
    mc_error: float
    low: float
    high: float
    below: int
    above: int
    cases: int
    runs: int


def read(path: Path) -> list[Coverage]:
    """Read ``workflow/simulated_coverage.csv``, which ``make simulate`` writes."""
    import pandas as pd

    table = pd.read_csv(path, keep_default_na=False, dtype={"estimate_types": str}, encoding="utf-8")
    return [Coverage(**{**row, "estimate_types": tuple(row["estimate_types"].split())}) for row in table.to_dict("records")]


def of_rows(known: Iterable[Coverage], used: Iterable[tuple[str, str]], interval: str) -> list[Coverage]:
    """Return what is known of the rows of a question.

    Parameters
    ----------
    known : iterable of Coverage
    used : iterable of tuple of str
        Estimate type and method of the rows.
    interval : str
        Interval of pooled means in this study (``pooling.interval``); others of these are left out.
    """
    used = set(used)
    pooled = {"guarded_hartung_knapp", "hartung_knapp", "z"} - {interval}
    if interval != "guarded_hartung_knapp":
        pooled.add("difference")
    return [
        one
        for one in known
        if one.interval not in pooled and any((estimate_type, one.method) in used for estimate_type in one.estimate_types)
    ]


def sentences(known: Sequence[Coverage]) -> list[str]:
    """Return one sentence a kind of interval: the range of coverage, and what missed the bounds."""
    kinds = list(dict.fromkeys((one.method, one.interval) for one in known))
    return [_sentence([one for one in known if (one.method, one.interval) == kind]) for kind in kinds]


def _sentence(alike: Sequence[Coverage]) -> str:
    first = alike[0]
    ranges = "; ".join(f"{_percent(one.lowest, floor)} to {_percent(one.highest, ceil)} % for {one.what}{_misses(one)}" for one in alike)
    error = _percent(max(one.mc_error for one in alike), ceil)
    runs = " to ".join(f"{count:,}" for count in sorted({min(one.runs for one in alike), max(one.runs for one in alike)}))
    return (
        f"In simulation, {INTERVALS[first.interval]} held the true value in {ranges} "
        f"({runs} runs a case, Monte Carlo error at most {error} points; {FOLDER})."
    )


def _misses(one: Coverage) -> str:
    missed = [
        f"{side} {100 * bound:g} % in {count} of {one.cases} cases"
        for side, bound, count in (("below", one.low, one.below), ("above", one.high, one.above))
        if count
    ]
    return f" ({', '.join(missed)})" if missed else ""


def _percent(share: float, towards: Callable[[float], int]) -> str:
    """Return a share in percent, one decimal, rounded so that a range never looks narrower than it is."""
    return f"{towards(round(1000 * share, 6)) / 10:.1f}"
