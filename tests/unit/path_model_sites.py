"""Simulated sites and configurations for tests of the path models."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
from alliance.questions.path_models import question as path_models
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from simulated_site import OPTIONS, score_rows, site_of

VARIABLES = {
    "empathy": {"construct": "empathy", "window": "session_1"},
    "alliance": {"construct": "alliance", "window": "sessions_2_to_5"},
    "outcome": {"construct": "outcome"},
    "intake_level": {"construct": "intake"},
    "motivation": {"construct": "motivation"},
    "adherence": {"construct": "adherence"},
    "bond": {"construct": "alliance", "scale": "bond", "window": "session_3"},
    "task": {"construct": "alliance", "scale": "task", "window": "session_3"},
    "goal": {"construct": "alliance", "scale": "goal", "window": "session_3"},
}
PARTIAL = "alliance ~ a*empathy + intake_level\noutcome ~ b*alliance + c*empathy + intake_level\nindirect := a*b\ntotal := c + a*b\n"
FULL = "alliance ~ a*empathy + intake_level\noutcome ~ b*alliance + intake_level\nempathy ~~ intake_level\nindirect := a*b\n"
TURNED = "empathy ~ alliance + intake_level\noutcome ~ alliance + intake_level + empathy\nalliance ~~ intake_level\n"
WORK = "work =~ task + bond + goal"


def configured(models: dict[str, str], comparisons: dict[str, list[str]] | None = None, **changes: Any) -> dict[str, Any]:
    """Return options with these models (syntax by name) and comparisons (models by name), and changed keys of the section."""
    options = copy.deepcopy(OPTIONS)
    options["resampling"]["draws"] = 200
    options["questions"]["path_models"] |= {
        "variables": VARIABLES,
        "models": {name: {"label": "", "variables": {}, "syntax": syntax} for name, syntax in models.items()},
        "comparisons": {name: {"label": "", "models": own} for name, own in (comparisons or {}).items()},
    } | changes
    return options


def path_site(
    site: str = "a",
    n: int = 150,
    therapists: int = 15,
    seed: int = 1,
    effect: float = 0.4,
    direct: float = 0.0,
    missing: float = 0.0,
    heywood: bool = False,
) -> SiteData:
    """Return a site where empathy leads to the alliance (.5), the alliance to the outcome (``effect``), empathy too (``direct``).

    ``missing`` is the share of each measure that is not known, at random; ``heywood`` makes correlations of task, bond and goal that no
    factor without a negative variance has (.8, .8, .5).
    """
    random = np.random.default_rng(seed)
    client = np.arange(1, n + 1)
    therapist = np.arange(n) % therapists + 1
    empathy, intake, motivation = random.standard_normal((3, n))
    alliance = 0.5 * empathy + 0.2 * intake + 0.8 * random.standard_normal(n)
    better = effect * alliance + direct * empathy + 0.4 * intake + 0.8 * random.standard_normal(n)
    factor = np.array([[1, 0.8, 0.8], [0.8, 1, 0.5], [0.8, 0.5, 1]]) if heywood else np.full((3, 3), 0.5) + 0.5 * np.eye(3)
    parts = random.multivariate_normal(np.zeros(3), factor, n, method="cholesky")
    about = {"therapist_no": therapist}
    tables = [
        *(score_rows(client, 5 + alliance, instrument="wai_36", session=number, **about) for number in range(2, 6)),
        *(score_rows(client, 5 + parts[:, place], instrument="wai_36", scale=scale, session=3, **about) for place, scale in _PARTS),
        score_rows(client, 30 + 5 * empathy, instrument="care", session=1, unit="sum", **about),
        score_rows(client, 20 - 6 * intake, instrument="core_10", timepoint="intake", unit="sum", **about),
        score_rows(client, 15 - 6 * better, instrument="core_10", timepoint="post", unit="sum", **about),
    ]
    kept = [_without(table, random.permutation(n)[: round(missing * n)] + 1) for table in _measures(tables)]
    clients = pd.DataFrame({"client_no": client, "therapist_no": therapist}).astype("Int64").assign(motivation=motivation)
    return site_of(kept, site, clients=clients)


_PARTS = ((0, "task"), (1, "bond"), (2, "goal"))


def _measures(tables: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return tables of one measure each: the alliance of all sessions is one."""
    return [pd.concat(tables[:4], ignore_index=True), *tables[4:]]


def _without(table: pd.DataFrame, clients: np.ndarray) -> pd.DataFrame:
    return table[~table["client_no"].isin(clients)]


def summary_of(site: SiteData, options: dict[str, Any]) -> SiteSummary:
    return path_models.estimate(site, options, {})


def tables_of(summaries: list[SiteSummary], options: dict[str, Any]) -> dict[str, pd.DataFrame]:
    return path_models.pool(summaries, options, {})


def row(table: pd.DataFrame, **where: Any) -> pd.Series:
    """Return the only row with these values."""
    chosen = table
    for column, value in where.items():
        chosen = chosen[chosen[column].eq(value)]
    assert len(chosen) == 1, f"{len(chosen)} rows with {where}"
    return chosen.iloc[0]


def rows_of(summary: SiteSummary, model: str) -> pd.DataFrame:
    """Return a model's rows of a site's summary."""
    return summary.estimates[summary.estimates["model"].eq(model)]
