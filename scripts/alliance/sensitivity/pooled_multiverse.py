"""The tables of the multiverse: every specification pooled over sites, what they say together, and which decision matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.configuration.study import BASE
from alliance.files import canonical_json
from alliance.questions import effects
from alliance.questions.alliance_outcome.pooling import AS_ESTIMATED, coded_rows
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.pooled_sites import left_out
from alliance.questions.summary import SiteSummary
from alliance.sensitivity.contract import NODE_INFLUENCE, OF_MULTIVERSE, SPECIFICATIONS, SUMMARY, finish
from alliance.sensitivity.multiverse import FLIPS as FLIPPED
from alliance.sensitivity.multiverse import SHUFFLES as SHUFFLED
from alliance.sensitivity.specifications import Multiverse, multiverses, touching
from alliance.statistics.node_influence import node_influence
from alliance.statistics.sign_flips import FEW_UNITS, STEPS, JointTest, joint_test

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
    sent = {summary.site: _sent(summary) for summary in summaries if summary.status == "ok"}
    found: dict[str, list[pd.DataFrame]] = {schema.name: [] for schema in OF_MULTIVERSE}
    for one in multiverses(options):
        own = gathered[gathered["model"].eq(one.target.name)] if len(gathered) else gathered
        rows, sites_left_out = _specification_rows(one, own, statuses, options)
        tests = {kind: _joint_test(rows, sites_left_out, summaries, sent, one.target.name, kind) for kind in (FLIPPED, SHUFFLED)}
        rows = _with_tests(rows, tests[FLIPPED])
        found[SPECIFICATIONS.name].append(rows)
        found[NODE_INFLUENCE.name].append(_influence_rows(one, rows))
        found[SUMMARY.name].append(_summary_rows(one, rows, tests, options))
    return {schema.name: finish(pd.concat(found[schema.name], ignore_index=True), schema) for schema in OF_MULTIVERSE}


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
) -> tuple[pd.DataFrame, list[frozenset[str]]]:
    """Return one row a specification, and the sites that each of them leaves out of pooling."""
    ways: dict[str, tuple[dict[str, Any], list[int]]] = {}
    varied = touching(one.changes, one.target.pool_reads)
    known: dict[tuple[str, ...], str] = {}
    for position, specification in enumerate(one.specifications):
        of_pooling = tuple(specification.choices[node] for node in varied)
        if of_pooling not in known:
            chosen = one.pool_options(options, specification)
            known[of_pooling] = canonical_json(chosen)
            ways.setdefault(known[of_pooling], (chosen, []))
        ways[known[of_pooling]][1].append(position)
    frames = []
    without: list[frozenset[str]] = [frozenset()] * len(one.specifications)
    for chosen, places in ways.values():
        for place in places:
            without[place] = frozenset(left_out(statuses, chosen["pooling"]["sites"]))
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
    told = rows.assign(
        multiverse=one.target.name,
        specification=[specification.number for specification in one.specifications],
        choices=[specification.words for specification in one.specifications],
        changes=[canonical_json(specification.changes) for specification in one.specifications],
        as_it_stands=["no" if specification.changes else "yes" for specification in one.specifications],
        scenario=BASE,
        site=POOLED,
        method=rows["method"].where(rows["status"].isin(WITH_NUMBERS), "none"),
    )
    return told, without


@dataclass(frozen=True)
class _Tested:
    """A joint test, the row of it that each specification has (-1: none), how many units were flipped, and sites that sent no scores."""

    found: JointTest
    row: np.ndarray
    units: int
    absent: tuple[str, ...]


def _sent(summary: SiteSummary) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return by kind the rows of a site's estimates that have flipped scores, and these, shape (rows, flips)."""
    found = {}
    for kind, own in summary.draws.groupby("model", sort=True):
        ordered = own.assign(row=own["parameter"].astype(int) - 1).sort_values(["row", "draw"], kind="stable")
        rows = np.unique(ordered["row"].to_numpy())
        found[str(kind)] = (rows, ordered["value"].to_numpy(dtype=float).reshape(len(rows), -1) / STEPS)
    return found


def _joint_test(
    rows: pd.DataFrame,
    sites_left_out: Sequence[frozenset[str]],
    summaries: Sequence[SiteSummary],
    sent: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
    model: str,
    kind: str,
) -> _Tested | None:
    """Return the joint test over the specifications that are estimated, each over the sites that it pools."""
    estimated = rows["status"].isin(WITH_NUMBERS).to_numpy()
    keys = [(key, without) if used else None for key, without, used in zip(rows["parameter"], sites_left_out, estimated)]
    places = {key: place for place, key in enumerate(dict.fromkeys(key for key in keys if key is not None))}
    if not places:
        return None
    observed, variance = np.zeros(len(places)), np.zeros(len(places))
    flips: np.ndarray | None = None
    units, absent = 0, []
    for summary in summaries:
        at, draws = sent.get(summary.site, {}).get(kind, (np.empty(0, dtype=int), np.empty((0, 0))))
        own = summary.estimates.iloc[at] if len(at) else summary.estimates.iloc[:0]
        of_model = own["model"].eq(model).to_numpy()
        of_row = dict(zip(own["parameter"][of_model], np.flatnonzero(of_model)))
        wanted = [(place, of_row[key]) for (key, without), place in places.items() if key in of_row and summary.site not in without]
        if not wanted:
            pooled_somewhere = any(summary.site not in without for _, without in places)
            absent += [summary.site] if pooled_somewhere else []
            continue
        into, source = np.array(wanted).T
        spread = np.sqrt(own["n_scores"]) if kind == SHUFFLED else own["score_sd"]
        spread = spread.to_numpy(dtype=float)[source]
        observed[into] += own["score"].to_numpy(dtype=float)[source]
        variance[into] += spread**2
        flips = np.zeros((len(places), draws.shape[1])) if flips is None else flips
        flips[into] += draws[source] * spread[:, None]
        units += int(summary.facts.get("units", 0))
    if flips is None:
        return None
    known = variance > 0
    size = np.sqrt(variance[known])
    weights = np.bincount([places[key] for key in keys if key is not None], minlength=len(places))
    tested = joint_test(observed[known] / size, (flips[known] / size[:, None]).T, weights[known])
    row = np.where(known, np.cumsum(known) - 1, -1)
    return _Tested(tested, np.array([-1 if key is None else row[places[key]] for key in keys]), units, tuple(absent))


def _with_tests(rows: pd.DataFrame, tested: _Tested | None) -> pd.DataFrame:
    if tested is None:
        return rows.assign(p_flips=np.nan, p_adjusted=np.nan)
    columns = {"p_flips": tested.found.p_values, "p_adjusted": tested.found.p_adjusted}
    return rows.assign(**{name: np.where(tested.row >= 0, values[tested.row], np.nan) for name, values in columns.items()})


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
    tests: Mapping[str, _Tested | None],
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
    for kind, method in ((FLIPPED, FLIPS), (SHUFFLED, SHUFFLES)):
        if kind == SHUFFLED and not options["multiverse"]["shuffles"]:
            continue
        tested = tests[kind]
        base = {**common, "estimate_type": "p_value", "scale": "identity", "method": method}
        test = "joint_test" if kind == FLIPPED else "historical_test"
        if tested is None:
            reason = "not estimable: no site sent scores of single therapists' clients"
            found += [
                {**base, "statistic": f"{test}_{name}", "status": "not_estimable", "reason": reason, "method": "none"} for name in _TESTS
            ]
            continue
        notes = [f"without {', '.join(tested.absent)}, which sent no scores"] if tested.absent else []
        if kind == SHUFFLED:
            notes.append(HISTORICAL)
        elif tested.units < FEW_UNITS:
            notes.append(f"{tested.units} therapists (or groups of small ones) are fewer than {FEW_UNITS}: the test is approximate")
        status = {"status": "flagged" if notes else "estimated", "reason": "; ".join(notes)}
        status["n_units"] = tested.units if kind == FLIPPED else None
        found += [
            {**base, "statistic": f"{test}_{name}", "estimate": float(getattr(tested.found, attribute)), **status}
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
