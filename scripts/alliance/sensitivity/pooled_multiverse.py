"""The tables of the multiverse: every specification pooled over sites, what they say together, and which decision matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.configuration.study import BASE
from alliance.files import canonical_json
from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.outcome_pooling import AS_ESTIMATED, coded_rows
from alliance.questions.pooled_sites import left_out
from alliance.questions.summary import SiteSummary
from alliance.sensitivity.contract import NODE_INFLUENCE, SPECIFICATIONS, SUMMARY, finish
from alliance.sensitivity.multiverse import SHUFFLED
from alliance.sensitivity.specifications import Multiverse, multiverses
from alliance.statistics.node_influence import node_influence
from alliance.statistics.sign_flips import FEW_UNITS, STEPS, JointTest, joint_test

TABLES = (SPECIFICATIONS, NODE_INFLUENCE, SUMMARY)
FLIPS, SHUFFLES, COUNTED = "sign_flips", "shuffled_alliance", "over_specifications"
NOTHING = "not estimable: no site answers this specification"
HISTORICAL = "historical: shuffling takes clients of one therapist as independent and rejects too often"
_TESTS = {
    "any_specification": "p_any",
    "median": "p_median",
    "share_excluding_zero": "p_share",
}


def tables_of(
    summaries: Sequence[SiteSummary], statuses: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> dict[str, pd.DataFrame]:
    """Return the tables of the multiverse.

    Parameters
    ----------
    summaries : sequence of SiteSummary
        What :func:`alliance.sensitivity.multiverse.estimate` returned at every site.
    statuses : sequence of mapping
        Every site's ``status.json``, for choices that leave sites out of pooling.
    options : mapping
        From :func:`alliance.sensitivity.specifications.options_of`, with ``seed``.
    """
    summaries = sorted(summaries, key=lambda one: one.site)
    gathered = effects.gather(summaries)
    found: dict[str, list[pd.DataFrame]] = {schema.name: [] for schema in TABLES}
    for one in multiverses(options):
        own = gathered[gathered["model"].eq(one.target.name)] if len(gathered) else gathered
        rows = _specification_rows(one, own, statuses, options)
        tests = {name: _joint_test(rows, summaries, one.target.name + name) for name in ("", SHUFFLED)}
        rows = _with_tests(rows, tests[""])
        found[SPECIFICATIONS.name].append(rows)
        found[NODE_INFLUENCE.name].append(_influence_rows(one, rows))
        found[SUMMARY.name].append(_summary_rows(one, rows, summaries, tests, options))
    return {schema.name: finish(pd.concat(found[schema.name], ignore_index=True), schema) for schema in TABLES}


def natural_scale(one: Multiverse) -> str:
    """Return the scale on which the numbers of a multiverse are compared."""
    return one.target.scale or "fisher_z"


def _pooled(one: Multiverse, own: pd.DataFrame, statuses: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the pooled row of every request of a multiverse under one way of pooling, indexed by ``site_key``."""
    pooling = options["pooling"]
    own = own[~own["site"].isin(left_out(statuses, pooling["sites"]).keys())] if len(own) else own
    if own.empty:
        return pd.DataFrame()
    scale = one.target.scale or effects.pooling_scale(pooling)
    numbered = effects.scaled(own, scale)
    rows = effects.pooled_rows(numbered, ["parameter", "estimate_type"], scale, pooling).drop_duplicates("parameter").set_index("parameter")
    coding = options.get("questions", {}).get("alliance_outcome", {}).get("coding", AS_ESTIMATED)
    if coding == AS_ESTIMATED:
        return rows
    coded = []
    for parameter, effect in numbered.groupby("parameter", sort=True):
        found = coded_rows(effect, {"parameter": parameter, "estimate_type": effect["estimate_type"].iloc[0]}, options)
        coded.append(found[found["coding"].eq(coding)] if len(found) else rows.loc[[parameter]].reset_index())
    return effects.stack(*coded).drop(columns=["headline", "coding"], errors="ignore").set_index("parameter")


def _specification_rows(
    one: Multiverse, own: pd.DataFrame, statuses: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> pd.DataFrame:
    ways: dict[str, tuple[dict[str, Any], list[int]]] = {}
    for position, specification in enumerate(one.specifications):
        chosen = one.pool_options(options, specification)
        ways.setdefault(canonical_json(chosen), (chosen, []))[1].append(position)
    frames = []
    for chosen, places in ways.values():
        pooled = _pooled(one, own, statuses, chosen)
        wanted = pd.Index([one.specifications[place].site_key for place in places], name="parameter")
        frames.append(pooled.reindex(wanted).reset_index().assign(_place=places))
    rows = effects.stack(*frames).sort_values("_place", kind="stable").reset_index(drop=True).drop(columns="_place")
    rows = rows.assign(**{name: None for name in ("status", "reason", "estimate_type", "scale", "method") if name not in rows})
    unanswered = rows["status"].isna()
    blank = {
        "estimate_type": one.target.estimate_type,
        "scale": effects.LABELS[natural_scale(one)],
        "method": "none",
        "status": "not_estimable",
        "reason": NOTHING,
    }
    rows = rows.assign(**{name: rows[name].where(~unanswered, value) for name, value in blank.items()})
    return rows.assign(
        multiverse=one.target.name,
        specification=[specification.number for specification in one.specifications],
        choices=[specification.words for specification in one.specifications],
        changes=[canonical_json(specification.changes) for specification in one.specifications],
        as_it_stands=["no" if specification.changes else "yes" for specification in one.specifications],
        scenario=BASE,
        site=POOLED,
        method=rows["method"].where(rows["status"].isin(WITH_NUMBERS), "none"),
    )


def _draws(summary: SiteSummary, model: str) -> tuple[list[str], np.ndarray]:
    """Return the specifications of which a site sent flipped scores, and these, shape (flips, specifications)."""
    own = summary.draws[summary.draws["model"].eq(model)].sort_values(["parameter", "draw"], kind="stable")
    names = list(own["parameter"].drop_duplicates())
    return names, own["value"].to_numpy(dtype=float).reshape(len(names), -1).T / STEPS if names else np.empty((0, 0))


def _joint_test(rows: pd.DataFrame, summaries: Sequence[SiteSummary], model: str) -> tuple[JointTest, list[str], int] | None:
    """Return the joint test over the specifications that are estimated, the requests behind it, and how many units were flipped."""
    counts = rows.loc[rows["status"].isin(WITH_NUMBERS), "parameter"].value_counts(sort=False)
    keys = list(counts.index)
    if not keys:
        return None
    place = {key: position for position, key in enumerate(keys)}
    observed, variance = np.zeros(len(keys)), np.zeros(len(keys))
    flips: np.ndarray | None = None
    units = 0
    name = model.removesuffix(SHUFFLED)
    for summary in summaries:
        names, draws = _draws(summary, model)
        wanted = [position for position, key in enumerate(names) if key in place]
        if not wanted:
            continue
        at = np.array([place[names[position]] for position in wanted])
        own = summary.estimates[summary.estimates["model"].eq(name)].set_index("parameter")
        spread = own["score_sd"].reindex([names[position] for position in wanted]).to_numpy(dtype=float)
        if model != name:
            spread = np.sqrt(own["n_clients"].reindex([names[position] for position in wanted]).to_numpy(dtype=float))
        observed[at] += own["score"].reindex([names[position] for position in wanted]).to_numpy(dtype=float)
        variance[at] += spread**2
        flips = np.zeros((len(draws), len(keys))) if flips is None else flips
        flips[:, at] += draws[:, wanted] * spread
        units += int(summary.facts.get("units", 0))
    if flips is None:
        return None
    known = variance > 0
    size = np.sqrt(variance[known])
    tested = joint_test(observed[known] / size, flips[:, known] / size, counts.to_numpy()[known])
    return tested, [key for key, one in zip(keys, known) if one], units


def _with_tests(rows: pd.DataFrame, tested: tuple[JointTest, list[str], int] | None) -> pd.DataFrame:
    if tested is None:
        return rows.assign(p_flips=np.nan, p_adjusted=np.nan)
    found, keys, _ = tested
    estimated = rows["status"].isin(WITH_NUMBERS)
    columns = {"p_flips": found.p_values, "p_adjusted": found.p_adjusted}
    return rows.assign(**{name: rows["parameter"].map(dict(zip(keys, values))).where(estimated) for name, values in columns.items()})


def _compared(one: Multiverse, rows: pd.DataFrame) -> pd.Series:
    """Return the estimates on a scale whose zero is no effect."""
    values = rows["estimate"].astype("float64")
    return {"fisher_z": np.arctanh, effects.RATIO: np.log}.get(natural_scale(one), lambda same: same)(values)


def _influence_rows(one: Multiverse, rows: pd.DataFrame) -> pd.DataFrame:
    used = rows[rows["status"].isin(WITH_NUMBERS)]
    by_number = {specification.number: specification.choices for specification in one.specifications}
    choices = pd.DataFrame([by_number[number] for number in used["specification"]], columns=list(one.nodes))
    common = {
        "multiverse": one.target.name,
        "scenario": BASE,
        "site": POOLED,
        "scale": effects.LABELS[natural_scale(one)],
        "estimate_type": "variance_explained",
        "method": COUNTED,
        "n_specifications": len(used),
        "n_sites": rows["n_sites"].max() if "n_sites" in rows else None,
    }
    found = node_influence(choices, _compared(one, used)) if len(used) > 1 else None
    kinds = [("main", node, "") for node in one.nodes] + [("with_interactions", node, "") for node in one.nodes]
    if found is None:
        reason = f"not estimable: needs two specifications that differ; has {len(used)}"
        absent = {**common, "method": "none", "status": "not_estimable", "reason": reason}
        return pd.DataFrame([{**absent, "share_of": kind, "node": node, "with_node": other} for kind, node, other in kinds])
    fixed = {node: "" if choices[node].nunique() > 1 else "one option only can be estimated" for node in one.nodes}
    values = [
        *(("main", node, "", value) for node, value in found.main.items()),
        *(("with_interactions", node, "", value) for node, value in found.total.items()),
        *(("interaction", first, second, value) for (first, second), value in found.pairs.items()),
        ("all_main", "", "", found.all_main),
        ("all_main_and_pairs", "", "", found.all_pairs),
    ]
    return pd.DataFrame(
        [
            {
                **common,
                "share_of": kind,
                "node": node,
                "with_node": other,
                "estimate": float(value),
                "status": "flagged" if fixed.get(node) else "estimated",
                "reason": fixed.get(node, ""),
            }
            for kind, node, other, value in values
        ]
    )


def _summary_rows(
    one: Multiverse,
    rows: pd.DataFrame,
    summaries: Sequence[SiteSummary],
    tests: Mapping[str, tuple[JointTest, list[str], int] | None],
    options: Mapping[str, Any],
) -> pd.DataFrame:
    used = rows[rows["status"].isin(WITH_NUMBERS)]
    removed = sum(rule.count for rule in one.removed)
    common = {
        "multiverse": one.target.name,
        "scenario": BASE,
        "site": POOLED,
        "scale": effects.LABELS[natural_scale(one)],
        "method": COUNTED,
        "status": "estimated",
        "reason": "",
        "rule": "",
        "n_specifications": len(used),
        "n_sites": rows["n_sites"].max() if "n_sites" in rows else None,
    }

    def row(statistic: str, kind: str, value: float, **more: Any) -> dict[str, Any]:
        return {**common, "statistic": statistic, "estimate_type": kind, "estimate": float(value), **more}

    found = [
        row("combinations", "count", len(one.specifications) + removed),
        *(row("removed_by_rule", "count", rule.count, rule=f"{rule.words}: {rule.reason}") for rule in one.removed),
        row("specifications", "count", len(one.specifications)),
        row("estimated", "count", len(used)),
        row("not_estimable", "count", len(rows) - len(used)),
    ]
    if len(used):
        found += _distribution(one, used, row)
    else:
        reason = "not estimable: no specification can be estimated"
        kinds = {"median": "specification_quantile", "share_same_sign": "share", "share_excluding_zero": "share"}
        found += [
            {**common, "statistic": name, "estimate_type": kind, "status": "not_estimable", "reason": reason, "method": "none"}
            for name, kind in kinds.items()
        ]
    absent = [one.site for one in summaries if one.status != "ok" or one.draws.empty]
    for suffix, method in (("", FLIPS), (SHUFFLED, SHUFFLES)):
        if suffix and not options["multiverse"]["shuffles"]:
            continue
        tested = tests[suffix]
        base = {**common, "estimate_type": "p_value", "scale": "identity", "method": method}
        if tested is None:
            reason = "not estimable: no site sent scores of single therapists' clients"
            found += [
                {**base, "statistic": f"joint_test_{name}", "status": "not_estimable", "reason": reason, "method": "none"}
                for name in _TESTS
            ]
            continue
        result, _, units = tested
        notes = [f"without {', '.join(absent)}, which sent no scores"] if absent else []
        if suffix:
            notes.append(HISTORICAL)
        elif units < FEW_UNITS:
            notes.append(f"{units} therapists (or groups of small ones) are fewer than {FEW_UNITS}: the test is approximate")
        status = {"status": "flagged" if notes else "estimated", "reason": "; ".join(notes), "n_units": units}
        found += [
            {**base, "statistic": f"joint_test_{name}", "estimate": float(getattr(result, attribute)), **status}
            for name, attribute in _TESTS.items()
        ]
    return pd.DataFrame(found)


def _distribution(one: Multiverse, used: pd.DataFrame, row: Any) -> list[dict[str, Any]]:
    values, compared = used["estimate"].astype("float64"), _compared(one, used)
    sign = np.sign(float(np.median(compared)))
    nothing = 1.0 if natural_scale(one) == effects.RATIO else 0.0
    low, high = used["ci_low"].astype("float64"), used["ci_high"].astype("float64")
    excludes = {1.0: low > nothing, -1.0: high < nothing}
    none = pd.Series(False, index=used.index)
    quantiles = {"smallest": 0.0, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75, "largest": 1.0}
    rows = [row(name, "specification_quantile", float(values.quantile(q))) for name, q in quantiles.items()]
    rows += [
        row("interquartile_range", "specification_quantile", float(values.quantile(0.75) - values.quantile(0.25))),
        row("share_same_sign", "share", float((np.sign(compared) == sign).mean())),
        row("share_excluding_zero", "share", float(excludes.get(sign, none).mean())),
        row("share_excluding_zero_other_sign", "share", float(excludes.get(-sign, none).mean())),
    ]
    standing = used[used["as_it_stands"].eq("yes")]
    if len(standing):
        limits = {name: float(standing[name].iloc[0]) for name in ("ci_low", "ci_high")}
        rows.append(row("as_it_stands", "specification_quantile", float(standing["estimate"].iloc[0]), **limits))
        below = float((values < standing["estimate"].iloc[0]).mean())
        rows.append(row("share_below_as_it_stands", "share", below))
    return rows
