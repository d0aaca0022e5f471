"""Moments of the items of an instrument: the blocks from which structure and invariance are estimated, at a site and over sites."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import Instrument
from alliance.questions.item_answers import ItemAnswers, attended_for, item_answers
from alliance.questions.moments import COLUMNS, Block, matrix_rows, moment_rows
from alliance.questions.part import stacked
from alliance.questions.site_data import CORRELATION, COVARIANCE, Published, SiteData

PREFIX = "items"
_PUBLISHED_ITEM = re.compile(r"(?P<instrument>[a-z][a-z0-9_]*)\.i(?P<item>[1-9][0-9]*)\.(?P<rater>[a-z_]+)\Z")


def block_name(instrument: str, rater: str, window: str) -> str:
    """Return the name of the block of an instrument's items by one rater in one window."""
    return f"{PREFIX}:{instrument}:{rater}:{window}"


def block_keys(block: str) -> tuple[str, str, str] | None:
    """Return instrument, rater and window of a block of items; None for another block."""
    parts = block.split(":")
    return (parts[1], parts[2], parts[3]) if len(parts) == 4 and parts[0] == PREFIX else None


def item_name(item: int) -> str:
    """Return what an item is called in a block and in the models."""
    return f"i{item}"


def main_window(options: Mapping[str, Any]) -> str:
    """Return the main window of the measurement question."""
    return options["questions"]["measurement"]["windows"][0]


def modelled_items(instrument: Instrument) -> list[int]:
    """Return the numbers of all items that stand in a scale, ascending."""
    return sorted({item for name in instrument.composites for item in instrument.scale_items(name)})


@dataclass(frozen=True)
class ItemRows:
    """Answers to the items of an instrument by one rater, one form a client, complete.

    Attributes
    ----------
    answers : ItemAnswers
        The forms, with all items of the instrument that stand in a scale.
    values : ndarray, shape (clients, items)
        Turned answers.
    items : list of int
        Item numbers in the order of the columns.
    n_forms : int
        Clients with a form in the window, complete or not.
    """

    answers: ItemAnswers
    values: np.ndarray
    items: list[int]
    n_forms: int

    @property
    def names(self) -> list[str]:
        """Names of the items in blocks and models."""
        return [item_name(item) for item in self.items]

    @property
    def client_no(self) -> pd.Index:
        """The client of every row."""
        return pd.Index(self.answers.forms["client_no"])


def item_rows(answers: ItemAnswers, definition: Mapping[str, Any], attended: pd.DataFrame, items: Sequence[int] = ()) -> ItemRows:
    """Return one form a client, the first in a window, of clients who answered all items of the instrument that stand in a scale.

    Parameters
    ----------
    answers : ItemAnswers
    definition : mapping
        Window of the configuration.
    attended : DataFrame
        From :func:`alliance.questions.item_answers.attended_for`.
    items : sequence of int
        Just these items; default all that stand in a scale.
    """
    wanted = sorted(items) if items else modelled_items(answers.instrument)
    chosen = [item for item in wanted if item in answers.items]
    first = answers.window(definition, attended).one_a_client()
    values = first.answers[:, [answers.items.index(item) for item in chosen]]
    complete = np.isfinite(values).all(axis=1) if chosen else np.zeros(len(values), dtype=bool)
    return ItemRows(first.rows(complete), values[complete], chosen, len(first.forms))


def rows_of_items(site: SiteData, options: Mapping[str, Any], constructs: Sequence[str], window: str) -> Iterator[ItemRows]:
    """Yield the complete forms of every instrument a site filled in as items, by instrument and rater, in one window.

    Short forms derived from long ones are left out: their answers are those of the long form.
    """
    windows = {window: options["alliance"]["windows"][window]}
    attended = attended_for(site, windows)
    for answers in item_answers(site, constructs):
        if not answers.derived_from:
            yield item_rows(answers, windows[window], attended)


def item_block(rows: ItemRows, window: str, min_clients: int) -> pd.DataFrame:
    """Return the moments of the items as rows of ``moments.csv``; none below ``min_clients`` clients."""
    if len(rows.values) < max(min_clients, 2) or not rows.items:
        return pd.DataFrame(columns=COLUMNS)
    return moment_rows(block_name(rows.answers.instrument.key, rows.answers.rater, window), rows.names, rows.values)


def published_blocks(published: Published, instruments: Mapping[str, Any], window: str, min_clients: int) -> pd.DataFrame:
    """Return blocks of items from a published matrix, as rows of ``moments.csv``.

    Items are the variables ``<instrument>.i<item>.<rater>``. A block is made where all pairs of an instrument's items by one rater are
    there from one published block; ``n`` is the smallest of its pairs. Correlations stay correlations (``method``).
    """
    frames = []
    for _, rows in published.moments.groupby(["block", "level"], sort=True):
        members = {name: _PUBLISHED_ITEM.match(name) for name in sorted({*rows["var1"], *rows["var2"]})}
        keys = sorted({(match["instrument"], match["rater"]) for match in members.values() if match})
        for instrument, rater in keys:
            if instrument not in instruments or any(frame["block"].iat[0] == block_name(instrument, rater, window) for frame in frames):
                continue
            found = {int(m["item"]): name for name, m in members.items() if m and (m["instrument"], m["rater"]) == (instrument, rater)}
            frame = _published_block(rows, [found[item] for item in sorted(found)], sorted(found), block_name(instrument, rater, window))
            if frame is not None and frame["n"].iat[0] >= min_clients:
                frames.append(frame)
    return stacked(frames, COLUMNS)


def _published_block(rows: pd.DataFrame, variables: list[str], items: list[int], block: str) -> pd.DataFrame | None:
    at = {name: position for position, name in enumerate(variables)}
    inside = rows[rows["var1"].isin(at) & rows["var2"].isin(at)]
    correlations = inside["method"].eq(CORRELATION).all()
    matrix, mean, n = np.full((len(at), len(at)), np.nan), np.full(len(at), np.nan), inside["n"].min()
    i, j = inside["var1"].map(at).to_numpy(), inside["var2"].map(at).to_numpy()
    matrix[i, j] = matrix[j, i] = inside["cov"].to_numpy(dtype=float)
    mean[i], mean[j] = inside["mean1"].to_numpy(dtype=float), inside["mean2"].to_numpy(dtype=float)
    if correlations:
        np.fill_diagonal(matrix, 1.0)
    if len(at) < 2 or pd.isna(n) or not np.isfinite(matrix).all() or not (correlations or inside["method"].eq(COVARIANCE).all()):
        return None
    method = CORRELATION if correlations else COVARIANCE
    return matrix_rows(block, [item_name(item) for item in items], mean, matrix, int(n), method=method)


def usual_range(ranges: Mapping[str, str], clients: Mapping[str, int]) -> str:
    """Return the range of answers of most clients (sites' ranges and clients by site); empty where none is known."""
    counts = {one: sum(clients.get(site, 0) for site, own in ranges.items() if own == one) for one in set(ranges.values()) - {""}}
    return min(counts, key=lambda one: (-counts[one], one)) if counts else ""


def pooled_within(blocks: Sequence[Block], names: Sequence[str]) -> tuple[np.ndarray, int, int]:
    """Return the covariance within sites, pooled over sites, its degrees of freedom plus one, and the number of clients.

    ``sum((n_s - 1) S_s) / sum(n_s - 1)``: differences between sites in means are no covariance. The degrees of freedom plus one stand for
    the sample size of one sample with as many degrees of freedom.

    Parameters
    ----------
    blocks : sequence of Block
        Covariances (not correlations) of the variables at each site, from complete cases.
    names : sequence of str
        Variables, in the order wanted.

    Returns
    -------
    covariance : ndarray, shape (p, p)
    n : int
        ``sum(n_s - 1) + 1``.
    n_clients : int
        ``sum(n_s)``.
    """
    chosen = [block.of(list(names)) for block in blocks]
    if any(block.scale != COVARIANCE or not block.complete for block in chosen):
        raise ValueError("covariances within sites are pooled from complete blocks of covariances")
    sizes = np.array([block.n[0, 0] for block in chosen])
    weights = (sizes - 1) / (sizes - 1).sum()
    covariance = np.einsum("s,sij->ij", weights, np.stack([block.covariance for block in chosen]))
    return covariance, int((sizes - 1).sum()) + 1, int(sizes.sum())
