"""Counts and numbers as they may be published."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance.publishing import columns
from alliance.publishing.profiles import Profile

DECIMALS = 2
"""Decimals of results where counts are rounded: as many as are printed, so that a result does not give its count away."""
SIGNIFICANT = 2


def rounded(count: float, to: int) -> int:
    """Return a count rounded to a multiple; halves go up, so that equal counts stay equal."""
    return int((int(count) + to // 2) // to * to)


def rounded_counts(counts: pd.Series, to: int) -> pd.Series:
    """Return counts rounded to a multiple, unknown ones unknown."""
    return (counts + to // 2) // to * to


def rounded_results(values: pd.Series) -> pd.Series:
    """Return results with as many decimals as are printed, negative zeros as zeros."""
    return values.round(DECIMALS) + 0.0


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


def hold_p_values(frame: pd.DataFrame) -> pd.Series:
    """Return which rows of a table have a p value for an estimate."""
    found = pd.Series(False, index=frame.index)
    for name in ("estimate_type", "index"):
        if name in frame:
            found |= frame[name].astype("string").str.startswith("p_value").fillna(False).astype(bool)
    return found


def coarse(frame: pd.DataFrame, kinds: dict[str, str], profile: Profile) -> pd.DataFrame:
    """Return a table with counts and results rounded as the profile asks."""
    if profile.round_counts_to == 1:
        return frame
    made, of_tests = {}, hold_p_values(frame)
    for name, kind in kinds.items():
        values = frame[name]
        if kind in (columns.BASE, columns.PART):
            made[name] = rounded_counts(values, profile.round_counts_to)
        elif kind in (columns.RESULT, columns.LACKING):
            made[name] = rounded_results(values).mask(of_tests, rounded_p_values(values))
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
