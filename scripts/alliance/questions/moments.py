"""Blocks of moments in a site summary: means and covariances of some variables, written and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alliance.questions.contract import MOMENTS
from alliance.questions.site_data import CORRELATION

COMPLETE_CASES = "complete_cases"
COLUMNS = list(MOMENTS)


@dataclass(frozen=True)
class Block:
    """Moments of some variables at one site.

    Attributes
    ----------
    names : tuple of str
        Variables, in the order of the matrices (p of them).
    n : ndarray, shape (p, p)
        Clients behind each covariance; NaN where it was not sent.
    mean : ndarray, shape (p,)
        NaN where not sent.
    covariance : ndarray, shape (p, p)
        Divisor n - 1; correlations where ``scale`` says so; NaN where not sent.
    scale : str
        ``covariance`` or ``correlation``.
    """

    names: tuple[str, ...]
    n: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    scale: str = "covariance"

    @property
    def complete(self) -> bool:
        """Whether every covariance is there and rests on the same number of clients."""
        return bool(np.isfinite(self.covariance).all() and (self.n == self.n[0, 0]).all())

    def of(self, names: Sequence[str]) -> Block:
        """Return the moments of some of the variables, in the order given."""
        chosen = [self.names.index(name) for name in names]
        square = np.ix_(chosen, chosen)
        return Block(tuple(names), self.n[square], self.mean[chosen], self.covariance[square], self.scale)


def no_moments() -> pd.DataFrame:
    """Return moments without rows."""
    return pd.DataFrame(columns=COLUMNS)


def moment_rows(block: str, names: Sequence[str], values: np.ndarray, level: str = "client") -> pd.DataFrame:
    """Return rows of ``moments.csv``: means and covariances (divisor n - 1) of complete data, shape (n, p)."""
    covariance = np.atleast_2d(np.cov(values, rowvar=False))
    return matrix_rows(block, names, values.mean(axis=0), covariance, len(values), level)


def matrix_rows(
    block: str, names: Sequence[str], mean: np.ndarray, covariance: np.ndarray, n: int, level: str = "client", method: str = COMPLETE_CASES
) -> pd.DataFrame:
    """Return rows of ``moments.csv`` for a mean vector and a covariance matrix, each pair once."""
    first, second = np.triu_indices(len(names))
    labels = np.asarray(names, dtype=object)
    return pd.DataFrame(
        {
            "block": block,
            "level": level,
            "var1": labels[first],
            "var2": labels[second],
            "n": n,
            "mean1": mean[first],
            "mean2": mean[second],
            "cov": covariance[first, second],
            "method": method,
        },
        columns=COLUMNS,
    )


def read_block(moments: pd.DataFrame, block: str, level: str = "client") -> Block | None:
    """Return one block of a site's moments; None where the site sent none."""
    return read_blocks(moments[moments["block"].eq(block)], level).get(block)


def read_blocks(moments: pd.DataFrame, level: str = "client") -> dict[str, Block]:
    """Return all blocks of a site's moments of one level, by name."""
    rows = moments[moments["level"].eq(level)]
    first, second, method = (rows[name].to_numpy(dtype=object) for name in ("var1", "var2", "method"))
    numbers = {name: rows[name].to_numpy(dtype=float, na_value=np.nan) for name in ("n", "mean1", "mean2", "cov")}
    return {
        name: _block(first[here], second[here], method[here], {column: values[here] for column, values in numbers.items()})
        for name, here in positions(rows["block"]).items()
    }


def _block(first: np.ndarray, second: np.ndarray, method: np.ndarray, numbers: Mapping[str, np.ndarray]) -> Block:
    names = tuple(dict.fromkeys([*first, *second]))
    at = {name: position for position, name in enumerate(names)}
    size = len(names)
    n, covariance, mean = np.full((size, size), np.nan), np.full((size, size), np.nan), np.full(size, np.nan)
    i, j = np.array([at[name] for name in first]), np.array([at[name] for name in second])
    covariance[i, j] = covariance[j, i] = numbers["cov"]
    n[i, j] = n[j, i] = numbers["n"]
    mean[i] = numbers["mean1"]
    mean[j] = numbers["mean2"]
    correlations = bool((method == CORRELATION).all())
    if correlations:
        np.fill_diagonal(covariance, 1.0)
    return Block(names, n, mean, covariance, "correlation" if correlations else "covariance")


def positions(values: pd.Series) -> dict[str, np.ndarray]:
    """Return the positions of each value, values in the order in which they first appear."""
    codes, names = pd.factorize(values)
    order = np.argsort(codes, kind="stable")
    return dict(zip(names, np.split(order, np.searchsorted(codes[order], np.arange(1, len(names))))))
