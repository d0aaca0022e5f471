"""Checks that need several sites: what looks odd at one site only beside the others.

A site is compared with the others that used the same instrument with the same rater. The limits are conventions, chosen so that clean
data seldom raise them, and named in each message.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.item_statistics import empty_items, empty_moments
from alliance.issues import Issue, Severity

Z_95 = 1.959963984540054
MIN_SITES_FOR_SHIFT = 4
MODIFIED_Z = 3.5
LARGE_SHIFT = 0.8
LARGE_RATIO = math.sqrt(2)
MIN_CLIENTS = 10
MIN_ANSWERS = 50
NEVER_BY_CHANCE = 1e-6


@dataclass
class SiteEvidence:
    """What one site lets the others be compared with; no rows of clients.

    Parameters
    ----------
    site : str
        Id of the site.
    status : dict
        Content of ``status.json``.
    items : DataFrame
        Content of ``item_statistics.csv``.
    moments : DataFrame
        Content of ``scale_moments.csv``.
    links : list of str
        Keyed hashes of date of birth and sex; empty where they are not compared.
    """

    site: str
    status: dict[str, Any]
    items: pd.DataFrame = field(default_factory=empty_items)
    moments: pd.DataFrame = field(default_factory=empty_moments)
    links: list[str] = field(default_factory=list)


def compare(sites: Iterable[SiteEvidence]) -> list[Issue]:
    """Return what looks odd at a site beside the others, all as warnings.

    Parameters
    ----------
    sites : iterable of SiteEvidence
        All sites; those left out take part only in the search for equal files.

    Returns
    -------
    list of Issue
        H12 items that run against their scale, V18 a highest answer that only this site never uses, V26 shifted and V27 rescaled
        distributions, F33 equal files, R06 clients who may be in two sites.
    """
    sites = sorted(sites, key=lambda evidence: evidence.site)
    used = [evidence for evidence in sites if evidence.status.get("status") != "excluded"]
    items = _stacked([evidence.items for evidence in used], empty_items())
    moments = _stacked([evidence.moments for evidence in used], empty_moments())
    return [
        *reversed_items(items),
        *unused_maximum(items),
        *shifted_distributions(moments),
        *equal_files(sites),
        *shared_clients(used),
    ]


def _stacked(tables: Sequence[pd.DataFrame], empty: pd.DataFrame) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else empty


def reversed_items(items: pd.DataFrame) -> list[Issue]:
    """Find scored items that run against the rest of their scale at one site and with it at the others (H12).

    At the site the 95 % interval of the item-rest correlation (Fisher z) lies below zero, while the others' correlations, pooled by
    inverse variance, have theirs above zero. The rest is that of the longest scale that holds the item: in a scale of four items two that
    were reversed twice would make the other two look wrong. An item is named once, at the timepoint with the strongest evidence.
    """
    known = _in_longest_scale(items[items["item_rest_r"].notna() & items["item_rest_se"].notna()])
    found: dict[tuple[str, str, str, int], tuple[float, Issue]] = {}
    for (instrument, rater, _, item), rows in known.groupby(["instrument", "rater", "timepoint", "item"], sort=True):
        if rows["site"].nunique() < 2:
            continue
        z = np.arctanh(np.clip(rows["item_rest_r"].to_numpy(), -0.999999, 0.999999))
        weight = 1 / rows["item_rest_se"].to_numpy() ** 2
        upper = z + Z_95 / np.sqrt(weight)
        for row in np.flatnonzero(upper < 0):
            others = np.arange(len(rows)) != row
            pooled = (z[others] * weight[others]).sum() / weight[others].sum()
            if pooled - Z_95 / math.sqrt(weight[others].sum()) <= 0:
                continue
            site = rows["site"].iloc[row]
            here, elsewhere = f"{math.tanh(z[row]):.2f}", f"{math.tanh(pooled):.2f}"
            text = (
                f"Item {item} of {instrument} ({rater}) runs against the rest of its scale here (r = {here}) and with it at the other sites"
                f" (r = {elsewhere}). Was it reversed before it was sent?"
            )
            fix = "Send the answers as given; reversed items are turned here. If they were not turned, check the column map."
            issue = Issue("H12", Severity.WARN, text, fix, site=site, column=f"i{item}", n_affected=int(rows["n"].iloc[row]))
            key = (site, str(instrument), str(rater), int(item))
            if key not in found or upper[row] < found[key][0]:
                found[key] = (float(upper[row]), issue)
    return [found[key][1] for key in sorted(found)]


def _in_longest_scale(items: pd.DataFrame) -> pd.DataFrame:
    """Return one row an item and group: the one of the scale with most items."""
    length = items.groupby(["instrument", "scale"])["item"].transform("nunique")
    ordered = items.assign(length=length).sort_values(["length", "scale"], ascending=[False, True], kind="stable")
    return ordered.drop_duplicates(["site", "instrument", "rater", "timepoint", "item"]).sort_index()


def unused_maximum(items: pd.DataFrame) -> list[Issue]:
    """Find sites where no item ever has the highest answer although it is common elsewhere (V18: coding shifted by one, or fewer points).

    Forms of one site count once for each item, at its rarest: with share p of highest answers at the other sites, n forms without any
    have probability (1 - p)^n, which must be below one in a million.
    """
    found = []
    one_row = items.drop_duplicates(["site", "instrument", "rater", "timepoint", "item"])
    for (instrument, rater), rows in one_row.groupby(["instrument", "rater"], sort=True):
        rows = rows[rows["n"] > 0].assign(top=lambda table: table["share_at_maximum"] * table["n"].astype("float64"))
        sites = rows.groupby("site", sort=True).agg(
            top=("top", "sum"), n=("n", "sum"), k=("item", "nunique"), high=("response_max", "max"), low=("response_min", "min")
        )
        for site, here in sites[sites["top"] == 0].iterrows():
            forms = float(here["n"]) / float(here["k"])
            others = sites[(sites.index != site) & (sites["high"] == here["high"]) & (sites["low"] == here["low"])]
            if forms < MIN_ANSWERS or not len(others):
                continue
            share = float(others["top"].sum()) / float(others["n"].sum())
            if share <= 0 or forms * math.log1p(-min(share, 1 - 1e-12)) > math.log(NEVER_BY_CHANCE):
                continue
            text = (
                f"No answer to {instrument} ({rater}) is {here['high']:g} in {forms:.0f} forms; at the other sites {100 * share:.0f} % are."
                " The answers may be shifted by one or come from a scale with fewer points."
            )
            fix = "Compare the export with the printed form; declare the range the site used, or map the codes with values."
            found.append(Issue("V18", Severity.WARN, text, fix, site=str(site), n_affected=round(float(here["n"]))))
    return found


def shifted_distributions(moments: pd.DataFrame) -> list[Issue]:
    """Find scales whose mean (V26) or spread (V27) stands apart at one site.

    With four sites or more: the modified z of the site among all sites, 0.6745 (x - median) / MAD, exceeds 3.5 in size (Iglewicz & Hoaglin
    1993, How to Detect and Handle Outliers), and the difference from the median is large as well: 0.8 standard deviations (Cohen 1988) for
    means, a factor of the square root of two for standard deviations. Sites below ten clients are left out. Scores are compared
    as shares of their possible range where it is known.
    """
    found = []
    usable = moments[(moments["n_clients"] >= MIN_CLIENTS) & moments["mean"].notna()]
    for (instrument, rater, scale, timepoint), rows in usable.groupby(["instrument", "rater", "scale", "timepoint"], sort=True):
        if rows["site"].nunique() < MIN_SITES_FOR_SHIFT:
            continue
        low, width = rows["minimum_possible"].to_numpy(), (rows["maximum_possible"] - rows["minimum_possible"]).to_numpy()
        known = np.isfinite(low).all() and np.isfinite(width).all()
        low, width = (low, width) if known else (np.zeros(len(rows)), np.ones(len(rows)))
        mean = (rows["mean"].to_numpy() - low) / width
        spread = np.sqrt(rows["sd_between_client"].to_numpy() ** 2 + np.nan_to_num(rows["sd_within_client"].to_numpy()) ** 2) / width
        typical = float(np.median(spread))
        if not typical > 0:
            continue
        what = f"{instrument} {scale} ({rater}, {timepoint})"
        difference = (mean - np.median(mean)) / typical
        for row in _apart(mean, np.abs(difference) > LARGE_SHIFT):
            text = f"The mean of {what} lies {difference[row]:+.1f} standard deviations from the middle of the sites."
            found.append(_distribution_issue("V26", rows, row, text))
        with np.errstate(divide="ignore"):
            ratio = np.log(spread / typical)
        for row in _apart(ratio, np.abs(ratio) > math.log(LARGE_RATIO)):
            text = f"The spread of {what} is {math.exp(ratio[row]):.2f} times that of the middle of the sites."
            found.append(_distribution_issue("V27", rows, row, text))
    return found


def _apart(values: np.ndarray, large: np.ndarray) -> list[int]:
    """Return the positions whose modified z exceeds the limit among those with a large difference."""
    distance = np.abs(values - np.median(values))
    deviation = float(np.median(distance))
    return [int(row) for row in np.flatnonzero(large) if 0.6745 * distance[row] > MODIFIED_Z * deviation]


def _distribution_issue(code: str, rows: pd.DataFrame, row: int, text: str) -> Issue:
    fix = (
        "Check coding, unit and range of answers; a true difference may stay (rule, a convention: modified z above 3.5, large difference)."
    )
    here = rows.iloc[row]
    return Issue(code, Severity.WARN, text, fix, site=str(here["site"]), column=str(here["scale"]), n_affected=int(here["n_rows"]))


def equal_files(sites: Sequence[SiteEvidence]) -> list[Issue]:
    """Find files that two sites sent byte for byte alike (F33)."""

    owners: dict[str, list[tuple[str, str]]] = {}
    for evidence in sites:
        for record in evidence.status.get("files", []):
            if record.get("sha256") and record.get("rows_in", 1):
                owners.setdefault(record["sha256"], []).append((evidence.site, record["file"]))
    found = []
    for copies in owners.values():
        for site, file in copies:
            others = sorted({f"{other} ({name})" for other, name in copies if other != site})
            if others:
                text = f"The same file was sent by {', '.join(others)}."
                fix = "Check which site it belongs to and remove the other copy."
                found.append(Issue("F33", Severity.WARN, text, fix, site=site, file=file))
    return found


def shared_clients(sites: Sequence[SiteEvidence]) -> list[Issue]:
    """Find clients of two sites with equal date of birth and sex, from their keyed hashes (R06)."""
    found = []
    for evidence in sites:
        mine = set(evidence.links)
        for other in sites:
            shared = len(mine & set(other.links)) if other.site != evidence.site else 0
            if shared:
                text = (
                    f"Date of birth and sex of {shared} client(s) here equal those of clients of {other.site}; they may be the same people."
                )
                fix = "Ask both sites; clients who moved count at one site only. Equal dates also occur by chance."
                found.append(Issue("R06", Severity.WARN, text, fix, site=evidence.site, n_affected=shared))
    return found
