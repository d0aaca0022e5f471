"""Counts and numbers as they may be published."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance.publishing import columns
from alliance.publishing.profiles import Profile
from alliance.questions.contract import DECIMALS, FINE, PROBABILITY, number_kinds

SIGNIFICANT = 2
SAME = 1e-12
"""Numbers that differ by less are equal but for the error of computing."""


def rounded(count: float, to: int) -> int:
    """Return a count rounded to a multiple; halves go up, so that equal counts stay equal."""
    return int((int(count) + to // 2) // to * to)


def rounded_counts(counts: pd.Series, to: int) -> pd.Series:
    """Return counts rounded to a multiple, unknown ones unknown."""
    return (counts + to // 2) // to * to


def rounded_results(values: pd.Series, decimals: int = DECIMALS) -> pd.Series:
    """Return results with as many decimals as are printed, so that a result does not give its count away; negative zeros as zeros.

    What is not 0 or 1 does not become it, but stands a quarter of the last decimal beside it: a limit of an interval that leaves out
    "no effect" still does, a variance between sites that is there is not gone, and no correlation is perfect.
    """
    made = _as_printed(values, decimals)
    for bound in (-1.0, 0.0, 1.0):
        beside = values - bound
        made = made.mask(made.eq(bound) & beside.abs().gt(SAME), bound + np.sign(beside) * 0.25 * 10.0**-decimals)
    return made


def _as_printed(values: pd.Series, decimals: int) -> pd.Series:
    """Return numbers rounded as they are printed: halves by the digits that a number has, not by those of its product."""
    numbers = values.to_numpy(dtype=float)
    made = np.round(numbers, decimals) + 0.0
    scaled = np.abs(numbers) * 10.0**decimals
    with np.errstate(invalid="ignore"):
        halves = np.flatnonzero(np.abs(scaled - np.floor(scaled) - 0.5) < 1e-6)
    made[halves] = [float(f"{value:.{decimals}f}") + 0.0 for value in numbers[halves]]
    return pd.Series(made, index=values.index)


def rounded_spreads(values: pd.Series) -> pd.Series:
    """Return standard errors and variances with two significant digits."""
    numbers = values.to_numpy(dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (np.floor(np.log10(np.abs(numbers))) - SIGNIFICANT + 1)
        made = np.round(numbers / scale) * scale
    made = np.where(np.isfinite(numbers) & (numbers != 0), made, numbers)
    # Back to the nearest number that has these digits, free of the error of the multiplication.
    return pd.Series(
        [float(f"{value:.{SIGNIFICANT}g}") if np.isfinite(value) else value for value in made], index=values.index, dtype=float
    )


def rounded_p_values(values: pd.Series) -> pd.Series:
    """Return p values with three decimals; one that is printed as < .001 is half of that, never 0, and one below .05 stays below."""
    made = values.round(3)
    return made.mask((values < 0.05) & (made >= 0.05), 0.049).mask(values < 0.001, 0.0005)


def coarse(frame: pd.DataFrame, kinds: dict[str, str], profile: Profile) -> pd.DataFrame:
    """Return a table with counts and results rounded as the profile asks."""
    if profile.round_counts_to == 1:
        return frame
    made, of_row = {}, number_kinds(frame)
    for name, kind in kinds.items():
        values = frame[name]
        if kind in (columns.BASE, columns.PART):
            made[name] = rounded_counts(values, profile.round_counts_to)
        elif kind in (columns.RESULT, columns.LACKING):
            usual, fine = rounded_results(values), rounded_results(values, DECIMALS + 1)
            made[name] = usual.mask(of_row.eq(FINE), fine).mask(of_row.eq(PROBABILITY), rounded_p_values(values))
        elif kind == columns.SPREAD:
            made[name] = rounded_spreads(values)
        elif kind == columns.P_VALUE:
            made[name] = rounded_p_values(values)
        elif kind == columns.OF_COUNT:
            made[name] = values.mask(values.notna())
    frame = frame.assign(**made)
    if {"difference", "published"} <= set(frame):
        frame["difference"] = frame["difference"].mask(frame["published"].notna(), rounded_results(frame["estimate"] - frame["published"]))
    return frame
