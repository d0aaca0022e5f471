"""An attacker with linear programs and all published tables finds no hidden count; with small cells alone hidden, most tables leak."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import report_study
from alliance.publishing import attack
from alliance.publishing.attack import Sum
from alliance.publishing.disclosure import gate
from alliance.questions import contract
from alliance.questions.contract import POOLED, WITH_NUMBERS
from scipy.optimize import linprog
from unit.published_study import PUBLIC, SHARE, SITES, gated, row, status, table

PLACE = ("early_gains", "change_categories")
OUTPUT = "/".join(PLACE)
CATEGORIES = ("recovered", "improved", "unchanged", "deteriorated")
TABLES = 200


def test_a_margin_gives_the_only_hidden_cell_away():
    limits = {"total": (20.0, 20.0), "a": (12.0, 12.0), "b": (0.0, np.inf)}
    assert attack.exposed(limits, [Sum("total", ("a", "b"))], ["b"]) == [("b", 8.0, 8.0)]
    assert attack.exposed(limits | {"a": (10.0, 14.0)}, [Sum("total", ("a", "b"))], ["b"]) == []


def test_cells_in_rows_and_columns_are_solved_together():
    # Rows (a b | c d) and columns (a c | b d): each line hides two cells; a total more than the lines say gives all away.
    names = ("a", "b", "c", "d")
    limits = dict.fromkeys(names, (0.0, np.inf)) | {
        "r1": (3.0, 3.0),
        "r2": (9.0, 9.0),
        "c1": (8.0, 8.0),
        "c2": (4.0, 4.0),
        "ad": (1.0, 1.0),
    }
    lines = [Sum("r1", ("a", "b")), Sum("r2", ("c", "d")), Sum("c1", ("a", "c")), Sum("c2", ("b", "d"))]
    assert attack.exposed(limits, lines, names) == []
    found = attack.exposed(limits, [*lines, Sum("ad", ("a", "d"))], names)
    assert [name for name, _, _ in found] == list(names)


def bounds(limits: dict[str, tuple[float, float]], sums: list[Sum], cell: str) -> tuple[float, float]:
    """Return the least and the largest value of a cell by linear programs over all cells at once."""
    names = list(limits)
    matrix = np.zeros((len(sums), len(names)))
    for place, one in enumerate(sums):
        matrix[place, names.index(one.total)] -= 1
        for part in one.parts:
            matrix[place, names.index(part)] += 1
    ends = []
    for sign in (1, -1):
        cost = np.array([sign * (name == cell) for name in names], dtype=float)
        solved = linprog(cost, A_eq=matrix, b_eq=np.zeros(len(sums)), bounds=list(limits.values()), method="highs")
        assert solved.status in (0, 3), solved.message
        ends.append(sign * solved.fun if solved.status == 0 else -sign * np.inf)
    return ends[0], ends[1]


@pytest.mark.parametrize("seed", range(40))
def test_cells_that_are_given_away_are_those_that_linear_programs_find_one_by_one(seed):
    random = np.random.default_rng(seed)
    counts = random.integers(0, 30, size=(4, 3))
    cells = {f"c{row}{column}": float(counts[row, column]) for row in range(4) for column in range(3)}
    sums = [Sum(f"r{row}", tuple(f"c{row}{column}" for column in range(3))) for row in range(4)]
    sums += [Sum(f"t{column}", tuple(f"c{row}{column}" for row in range(4))) for column in range(3) if random.random() < 0.7]
    sums += [Sum("alone", ("one", "other"))]
    exact = cells | {one.total: sum(cells.get(name, 4.0) for name in one.parts) for one in sums} | {"one": 4.0, "other": 4.0}
    slack = random.integers(0, 3)
    hidden = [name for name in exact if random.random() < 0.45]
    limits = {name: (0.0, np.inf) if name in hidden else (max(0.0, n - slack), n + slack) for name, n in exact.items()}
    for within in (1.0, 5.0):
        found = {name: (low, high) for name, low, high in attack.exposed(limits, sums, hidden, within)}
        expected = {name: bounds(limits, sums, name) for name in hidden}
        expected = {name: (low, high) for name, (low, high) in expected.items() if high - low < within - 1e-6}
        assert list(found) == list(expected)
        for name, ends in expected.items():
            assert found[name] == pytest.approx(ends, abs=1e-6)


def test_counts_that_contradict_each_other_are_told():
    with pytest.raises(ValueError, match="contradict"):
        attack.exposed({"t": (9.0, 9.0), "a": (10.0, 10.0), "b": (0.0, np.inf)}, [Sum("t", ("a", "b"))], ["b"])


def crosstable(seed: int) -> list[dict[str, Any]]:
    """Return the rows of clients of five sites in four categories of change, with the counts of all sites together."""
    random = np.random.default_rng(seed)
    counts = random.multinomial(random.integers(24, 60, size=(5, 1))[:, 0], random.dirichlet((4, 3, 2, 1.5)))
    rows = []
    for site, own in [*zip(SITES, counts), (POOLED, counts.sum(axis=0))]:
        for category, inside in zip(CATEGORIES, own):
            rows.append(
                row(
                    site,
                    int(own.sum()),
                    40 if site == POOLED else 9,
                    category=category,
                    denominator=f"table {seed:03}",
                    estimate_type="share",
                    scale="identity",
                    estimate=inside / own.sum(),
                    ci_low=0,
                    ci_high=1,
                    method="counted",
                )
            )
    return rows


def only_small_cells_hidden(frame: pd.DataFrame, least: int) -> pd.DataFrame:
    """Return a table in which nothing but the small cells is hidden, as is often thought to be enough."""
    small = frame["estimate"] * frame["n_clients"].astype(float) < least - 0.5
    return frame.assign(status=frame["status"].mask(small, "withheld"), estimate=frame["estimate"].mask(small))


@functools.cache
def crosstables() -> pd.DataFrame:
    """Return all tables below each other; their denominators tell them apart."""
    return table(*PLACE, [one for seed in range(TABLES) for one in crosstable(seed)])


@pytest.mark.parametrize("profile", [SHARE, PUBLIC], ids=["share", "public"])
def test_no_hidden_count_of_200_tables_with_margins_can_be_worked_out(profile):
    sites = [status(site, 70, 9) for site in SITES]
    made = gated({PLACE[0]: {PLACE[1]: crosstables()}}, profile, statuses=sites).data.tables[PLACE[0]][PLACE[1]]
    assert attack.recoverable({OUTPUT: made}, {OUTPUT: contract.table(*PLACE)}, profile.round_counts_to) == []
    assert made["status"].isin(WITH_NUMBERS).sum() > TABLES
    assert made.loc[made["status"].eq("withheld"), "denominator"].nunique() > TABLES / 2


def test_hiding_small_cells_alone_leaks():
    frame = crosstables()
    found = attack.recoverable({OUTPUT: only_small_cells_hidden(frame, SHARE.min_clients)}, {OUTPUT: contract.table(*PLACE)})
    for one in found:
        # What the attacker says is what was hidden.
        inside = round(frame.loc[one.row, "estimate"] * frame.loc[one.row, "n_clients"])
        assert one.low - 1e-6 <= inside <= one.high + 1e-6
    leaking = frame.loc[[one.row for one in found], "denominator"].nunique()
    assert leaking > TABLES / 2


@pytest.mark.parametrize("profile", [SHARE, PUBLIC], ids=["share", "public"])
def test_nothing_hidden_in_a_whole_study_can_be_worked_out(profile):
    made = gate(report_study.study(), {}, profile).data.tables
    named = {f"{question}/{name}": frame for question in made for name, frame in made[question].items()}
    assert sum(int(frame["status"].eq("withheld").sum()) for frame in named.values()) > 20
    schemas = {name: contract.table(*name.split("/")) for name in named}
    assert attack.recoverable(named, schemas, profile.round_counts_to) == []
