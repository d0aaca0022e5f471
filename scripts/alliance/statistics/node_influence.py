"""How much of the variance of a number over specifications each decision explains, alone and with others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

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

    # Columns of zeros and ones: their products are exact, and small beside the columns themselves.
    design = np.column_stack([np.ones(len(y)), *columns.values(), *products.values()])
    gram, with_y = design.T @ design, design.T @ y
    ends = np.cumsum([1, *(part.shape[1] for part in (*columns.values(), *products.values()))])
    place = dict(zip([*columns, *products], (np.arange(*ends_of) for ends_of in pairwise(ends))))

    def explained(parts: Sequence[object]) -> float:
        chosen = np.concatenate([[0], *(place[part] for part in parts)]).astype(int)
        inverse = np.linalg.pinv(gram[np.ix_(chosen, chosen)], rcond=1e-10, hermitian=True)
        return float(with_y[chosen] @ inverse @ with_y[chosen]) / whole

    mains = list(columns)
    all_main = explained(mains)
    main = {node: all_main - explained([other for other in mains if other != node]) for node in columns}
    pairs = {pair: explained([*mains, pair]) - all_main for pair in products}
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
        all_pairs=explained([*mains, *products]),
    )


def _dummies(options: pd.Series) -> np.ndarray:
    codes = pd.factorize(options)[0]
    return (codes[:, None] == np.arange(1, codes.max() + 1)).astype(float)


def _products(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first[:, :, None] * second[:, None, :]).reshape(len(first), -1)
