"""What every number column of a published table tells of people. A column that is not declared here stops publishing."""

from __future__ import annotations

import pandas as pd

from alliance.publishing.decisions import DisclosureError
from alliance.questions.contract import HETEROGENEITY, TEXT, Table, table, table_types

SAFE = "safe"
"""Tells nothing of people: numbers of measures or sites, published figures, limits chosen beforehand."""
BASE = "base"
"""Clients, therapists or sessions that a row rests on: judges the row, and is rounded."""
PART = "part"
"""Some of the clients of a row, or events of theirs: hidden where few, or where few are left; rounded."""
OF_COUNT = "of_count"
"""Follows from a count, and would give it away: hidden where counts are rounded."""
LACKING = "lacking"
"""Share of clients who lack something: hidden where these are few."""
RESULT = "result"
"""Estimated from the clients of the row: goes with the row, rounded where counts are."""
P_VALUE = "p_value"
"""A test of the row: goes with it, rounded as it is printed."""
SPREAD = "spread"
"""A standard error or a variance: goes with the row, two significant digits where counts are rounded."""

COMMON = {
    **dict.fromkeys(("estimate", "ci_low", "ci_high", "prediction_low", "prediction_high", "i2", "q", "difference"), RESULT),
    **dict.fromkeys(("std_error", "tau2", "tau2_low", "tau2_high"), SPREAD),
    **dict.fromkeys(("p_value", "q_p_value"), P_VALUE),
    **dict.fromkeys(("n_clients", "n_therapists", "n_sessions"), BASE),
    **dict.fromkeys(("n_sites", "q_df", "published"), SAFE),
    "share_missing": LACKING,
}
OWN = {
    # Of measures, sites, sessions and specifications, not of people.
    **dict.fromkeys(("n_items", "n_pairs", "n_correlations", "n_factors", "n_specifications", "specification", "categories"), SAFE),
    **dict.fromkeys(("session", "bound", "expected"), SAFE),
    **dict.fromkeys(("n_at_risk", "n_events", "n_gains", "n_unmatched", "n_unmeasured", "n_without", "n_units"), PART),
    # Raters behind one score: a mean; observers are colleagues, and their number at a site is told by no other column.
    "n_raters": RESULT,
    "events_per_parameter": OF_COUNT,
    "detectable_r": OF_COUNT,
    **dict.fromkeys(("rstudent", "dffits", "cook_distance", "covariance_ratio", "q_without", "hat", "weight"), RESULT),
    **dict.fromkeys(("t_independent", "mean_gain", "mean_without", "minimum_detectable", "base_estimate", "change"), RESULT),
    **dict.fromkeys(("tau2_without", "component"), SPREAD),
    **dict.fromkeys(("p_equivalence", "p_independent", "p_joint", "p_permutation", "p_phases", "p_noise", "p_boundary"), P_VALUE),
    **dict.fromkeys(("p_flips", "p_adjusted"), P_VALUE),
}
assert set(HETEROGENEITY) <= set(COMMON)

SHARES = ("share", "share_in_treatment", "cumulative_risk")
"""Shares of clients (or of what they did), whose numerator and rest are counts of people."""
FROM_SHARES = ("share_difference", "risk_difference", "kappa", "pabak", "observed_to_expected", "transition_odds")
"""Numbers that follow from such shares, so that one of these could be worked out."""

OF_THINGS = {
    ("alliance_outcome", "pooled"): "share of sites",
    ("dropout", "hazard"): "risks that a model foretells at values of its predictors, not counts of clients",
    ("sensitivity", "summary"): "shares of specifications",
}
"""Tables whose shares are not shares of clients, and of what they are."""
OVER_SPECIFICATIONS = (("sensitivity", "node_influence"), ("sensitivity", "summary"))
"""Tables over specifications: they name no clients, and rest on estimates over all sites."""

VERDICTS = ("decision", "influential")
"""Keys that say in words what the numbers of a row say."""
NOT_OVER_SITES = {
    ("early_gains", "change_categories"): ("rule",),
    ("early_gains", "sudden_gains"): ("rule",),
    ("convergent_validity", "overlap_summary"): ("basis",),
}
"""Keys in which the row over sites differs from those of the sites that it is made from."""

VARIANTS = ("statistic", "category", "response", "group", "pattern", "term", "contrast", "treatment", "cause")
"""Keys whose values may split the same clients, so that one row can be worked out from the others."""
PARTITIONS = {
    ("early_gains", "change_categories"): "category",
    ("alliance_outcome", "missing"): "pattern",
    ("congruence", "agreement"): "statistic",
    ("congruence", "response_surface"): "term",
    ("course", "peak"): "session",
    ("client_factors", "participants"): "category",
}
"""Tables whose shares add up to one over the values of a key."""
OF_THERAPISTS = {("client_factors", "participants"): ("person", "therapist")}
"""Tables with numbers whose people are therapists, not clients, and the key and value by which these rows are known."""
PARTS_OF_A_MODEL = ("term", "parameter", "lhs", "op", "rhs")
"""Keys that tell the coefficients of one model apart."""
LEFT_OUT = "site_left_out"
FAMILIES = {("alliance_outcome", "pooled"): ("alliance_outcome", "site_effects")}
"""Tables of rows over sites, and the tables of the sites' rows that they are made from; elsewhere both stand in one table."""
CURVES = (("dropout", "survival"),)
"""Tables of curves over sessions: points are shown where enough clients left since the last one shown."""

COEFFICIENTS = {
    **dict.fromkeys(("correlation", "correlation_with_change", "slope_standardised", "interaction_standardised"), 2),
    **dict.fromkeys(("partial_correlation", "part_correlation", "semipartial_correlation", "correlation_contrast"), 3),
    **dict.fromkeys(("hazard_ratio", "odds_ratio", "curvature_standardised", "standardised_mean_difference"), 2),
}
"""Coefficients of the least model behind a number of a type, intercept included."""


def people(frame: pd.DataFrame, place: tuple[str, str]) -> pd.Series:
    """Return how many people each row of a table tells of: clients, or the therapists whom it describes, by the same limits.

    Parameters
    ----------
    frame : DataFrame
        Rows of the table.
    place : tuple of str
        Its question and name.
    """
    if place not in OF_THERAPISTS:
        return frame["n_clients"]
    key, value = OF_THERAPISTS[place]
    return frame["n_clients"].mask(frame[key].eq(value), frame["n_therapists"])


def over_sites(schema: Table) -> list[str]:
    """Return the keys in which the rows of the sites and the row over them agree."""
    left_out = (*VERDICTS, *NOT_OVER_SITES.get((schema.question, schema.name), ()))
    return [key for key in schema.identifying if key not in left_out]


def shared_over_sites(schema: Table) -> list[str]:
    """Return the keys in which rows over sites agree with those of the sites, wherever these stand."""
    place = (schema.question, schema.name)
    partner = next((pair for pair in FAMILIES.items() if place in pair), None)
    if partner is None:
        return over_sites(schema)
    first, second = (over_sites(table(*one)) for one in partner)
    return [key for key in first if key in second]


def identity(schema: Table) -> list[str]:
    """Return the columns that identify a row, also in another version."""
    return [*(key for key in schema.identifying if key not in VERDICTS), "site", "estimate_type", "claim", "method"]


def variants(schema: Table) -> list[str]:
    """Return the keys of a table whose values may split the same clients."""
    of_partition = PARTITIONS.get((schema.question, schema.name))
    return [key for key in schema.identifying if key in VARIANTS or key == of_partition]


def kinds(schema: Table) -> dict[str, str]:
    """Return what each number column of a table tells of people.

    Raises
    ------
    DisclosureError
        Where a column is not declared.
    """
    numbers = [name for name, kind in table_types(schema).items() if kind != TEXT]
    declared = {**COMMON, **OWN}
    unknown = [name for name in numbers if name not in declared]
    if unknown:
        raise DisclosureError(
            f"{schema.question}/{schema.name}: what column {name} tells of people is not declared; declare it in "
            "scripts/alliance/publishing/columns.py"
            for name in unknown
        )
    return {name: declared[name] for name in numbers}
