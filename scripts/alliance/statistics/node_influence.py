"""How much of the variance of a number over specifications each decision explains, alone and with others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class NodeInfluence:
    """Shares of the variance over specifications.

    Attributes
    ----------
    main : Series
        By node: what the model of all main effects loses without the node (its marginal sum of squares; R's ``drop1``). In a full factorial
        these are the first-order indices of Sobol' (1993).
    total : Series
        By node: what remains among specifications that agree in all other nodes, so with all interactions (total index; Homma &
        Saltelli, 1996).
    pairs : Series
        By pair of nodes: what their interaction adds to the model of all main effects.
    all_main, all_pairs : float
        What all main effects explain together, and these with all interactions of two nodes.
    """

    main: pd.Series
    total: pd.Series
    pairs: pd.Series
    all_main: float
    all_pairs: float


def node_influence(choices: pd.DataFrame, values: ArrayLike) -> NodeInfluence | None:
    """Return the shares; None where the values do not vary.

    Parameters
    ----------
    choices : DataFrame, shape (specifications, nodes)
        Option of every specification. A node in which all agree explains nothing.
    values : array_like, shape (specifications,)
    """
    y = np.asarray(values, dtype=float)
    y = y - y.mean()
    whole = float(y @ y)
    if not whole > np.finfo(float).eps * max(1.0, float(np.abs(np.asarray(values, dtype=float)).max())) ** 2 * len(y):
        return None
    columns = {node: _dummies(choices[node]) for node in choices}
    products = {pair: _products(columns[pair[0]], columns[pair[1]]) for pair in combinations(choices, 2)}

    def explained(parts: list[np.ndarray]) -> float:
        design = np.column_stack([np.ones(len(y)), *parts])
        left = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
        return 1 - float(left @ left) / whole

    mains = list(columns.values())
    all_main = explained(mains)
    main = {node: all_main - explained([part for other, part in columns.items() if other != node]) for node in columns}
    pairs = {pair: explained([*mains, product]) - all_main for pair, product in products.items()}
    total = {}
    for node in choices:
        others = [other for other in choices if other != node]
        own = pd.Series(y)
        within = own - own.groupby([choices[other].to_numpy() for other in others]).transform("mean") if others else own
        total[node] = float((within**2).sum()) / whole
    index = pd.MultiIndex.from_tuples(list(pairs)) if pairs else pd.MultiIndex.from_arrays([[], []])
    return NodeInfluence(
        main=pd.Series(main).clip(lower=0.0),
        total=pd.Series(total),
        pairs=pd.Series(list(pairs.values()), index=index, dtype="float64").clip(lower=0.0),
        all_main=all_main,
        all_pairs=explained([*mains, *products.values()]),
    )


def _dummies(options: pd.Series) -> np.ndarray:
    codes = pd.factorize(options)[0]
    return (codes[:, None] == np.arange(1, codes.max() + 1)).astype(float)


def _products(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first[:, :, None] * second[:, None, :]).reshape(len(first), -1)
