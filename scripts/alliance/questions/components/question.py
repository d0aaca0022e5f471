"""Task, bond and goal: what each brings to the outcome, and whether that changes over the phases of treatment (claims C6 to C8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.alliance_outcome.contrasts import result_fields, z_scores
from alliance.questions.contract import POOLED, WITH_NUMBERS, finish
from alliance.questions.correlations import therapist_codes
from alliance.questions.part import VCOV, Part, summary_fields, with_names
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.covariance import partial_correlation
from alliance.statistics.dominance import clustered_correlations, general_dominance, of_pooled_correlations, shared_with_others
from alliance.statistics.jackknife import covariance_of_sums, cross_products, jackknife
from alliance.statistics.resampling import bootstrap, generator, percentile_interval
from alliance.statistics.resampling import cross_products as resampled_products
from alliance.variables.client import Measure, measure, order_violations

estimate_reads = (
    "alliance.instruments",
    "alliance.scale",
    "alliance.rater",
    "alliance.windows",
    "empathy",
    "regard",
    "unconditionality",
    "congruence",
    "outcome.instruments",
    "outcome.scale",
    "outcome.rater",
    "outcome.timepoint",
    "pooling.min_clients",
    "pooling.level",
    "resampling.draws",
    "questions.components",
)
pool_reads = ("pooling", "alliance.rater", "alliance.windows", "outcome.rater", "questions.components")
needs = ()
tables = ("dominance", "by_phase")

SUMMARIES_ONLY = "not estimable: needs the components and the outcome of single clients; the site published summaries only"
DOMINANCE, TOGETHER, OTHERS = "dominance", "together", "shared with the other components"
OUTCOME, LEVEL, CONDITION, TYPE = "outcome", "level", "condition", "type"
TYPES = ("type_1", "type_2")
"""Scales of helping alliance: the therapist helps, and both work together."""
OF_TYPES = {"mean_of": ["type_2"], "against": "type_1"}
CORRELATIONS = "correlations"
MOST_FAILED = 0.2
TREATMENT = 20
KEYS = {
    "dominance": ["alliance_rater", "phase", "quantity", "component", "contrast", "same_rater", "estimate_type"],
    "by_phase": ["topic", "condition", "alliance_rater", "component", "phase", "contrast", "same_rater", "estimate_type"],
}

NAMING = {name: [key for key in keys if key != "same_rater"] for name, keys in KEYS.items()}
"""What names a row of a site's summary."""


@dataclass(frozen=True)
class Sample:
    """Components of one site by phase, one row a client.

    Attributes
    ----------
    values : dict of (str, str) to ndarray, shape (clients,)
        By component and phase; NaN where missing or rated after the outcome.
    outcome, intake : ndarray, shape (clients,)
    conditions : dict of str to ndarray
        Conditions that the therapist offers.
    condition_raters : dict of str to str
    therapists : ndarray or None
    reason, no_outcome : str
        What is lacking, empty if nothing.
    no_condition : dict of str to str
        What is lacking of each condition.
    types : dict of (str, str) to ndarray
        By type of helping alliance and phase.
    no_types : str
        What is lacking of them.
    """

    values: dict[tuple[str, str], np.ndarray]
    outcome: np.ndarray
    intake: np.ndarray
    conditions: dict[str, np.ndarray]
    condition_raters: dict[str, str]
    therapists: np.ndarray | None
    reason: str
    no_outcome: str
    no_condition: dict[str, str]
    types: dict[tuple[str, str], np.ndarray]
    no_types: str

    @property
    def size(self) -> int:
        """Number of clients."""
        return len(self.outcome)

    def codes(self, used: np.ndarray) -> np.ndarray | None:
        """Return the therapists of some clients, None where not known."""
        return None if self.therapists is None else self.therapists[used]


def phases(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the window of each phase in the order of time, those without one left out.

    The order is that of the windows' middles in a treatment of twenty sessions; resolved configurations do not keep that of their keys.
    """
    windows = options["alliance"]["windows"]
    chosen = {name: window for name, window in options["questions"]["components"]["phases"].items() if window}
    return dict(sorted(chosen.items(), key=lambda one: (_middle(windows[one[1]]), one[0])))


def _middle(window: Mapping[str, Any]) -> float:
    """Return where the middle of a window lies in a treatment of twenty sessions, 0 to 1."""
    if window.get("sessions") is not None:
        first, last = (min(session, TREATMENT) for session in window["sessions"])
        return (first + last - 1) / 2 / TREATMENT
    if window.get("last") is not None:
        return 1 - min(window["last"], TREATMENT) / 2 / TREATMENT
    return sum(window["phase"]) / 2


def sample(site: SiteData, options: Mapping[str, Any]) -> Sample:
    """Return the components of a site by phase, with outcome, intake level and conditions."""
    question = options["questions"]["components"]
    raw = {**options, "outcome": {**options["outcome"], "form": "ancova"}}
    outcome, intake = measure(site, {"construct": "outcome"}, raw), measure(site, {"construct": "intake"}, raw)
    found = {
        (scale, phase): measure(site, {"construct": "alliance", "window": window, "scale": scale}, options)
        for phase, window in phases(options).items()
        for scale in question["scales"]
    }
    conditions = {name: measure(site, {"construct": name}, options) for name in question["conditions"]}
    types, no_types = _types(site, options)
    every = [outcome, intake, *found.values(), *conditions.values(), *types.values()]
    clients = pd.Index(sorted(set().union(*(set(one.values.index) for one in every if not one.reason))), dtype="int64")
    codes, known = therapist_codes(clients, site.clients, site.scores)

    def of(one: Measure) -> np.ndarray:
        return np.full(len(clients), np.nan) if one.reason else one.values.reindex(clients).to_numpy(dtype=float)

    def in_time(one: Measure) -> np.ndarray:
        late = [] if one.reason or outcome.reason else order_violations(one, outcome)
        return np.where(clients.isin(late), np.nan, of(one))

    return Sample(
        {key: in_time(one) for key, one in found.items()},
        of(outcome),
        of(intake),
        {name: of(one) for name, one in conditions.items()},
        {name: one.rater or str(options[name]["rater"]) for name, one in conditions.items()},
        codes if known else None,
        next((one.reason for one in found.values() if one.reason), ""),
        outcome.reason or intake.reason,
        {name: one.reason for name, one in conditions.items()},
        {key: in_time(one) for key, one in types.items()},
        no_types,
    )


def _types(site: SiteData, options: Mapping[str, Any]) -> tuple[dict[tuple[str, str], Measure], str]:
    """Return both types of helping alliance by phase, of the first instrument of the configuration that has all, and what is lacking."""
    asked = options["questions"]["components"]["types"]
    for instrument in asked["instruments"]:
        found = {
            (scale, phase): measure(site, {"construct": f"{instrument}.{scale}", "window": window, "rater": asked["rater"]}, options)
            for phase, window in phases(options).items()
            for scale in TYPES
        }
        if not any(one.reason for one in found.values()):
            return found, ""
    return {}, f"both types of helping alliance ({' or '.join(asked['instruments'])}, {asked['rater']}) in every phase"


def nobody(options: Mapping[str, Any]) -> Sample:
    """Return a sample without clients, from which every row that a site could have follows."""
    question, none = options["questions"]["components"], np.empty(0)
    values = {(scale, phase): none for phase in phases(options) for scale in question["scales"]}
    conditions = dict.fromkeys(question["conditions"], none)
    raters = {name: str(options.get(name, {}).get("rater", "")) for name in conditions}
    lacking = dict.fromkeys(conditions, "no clients")
    return Sample(values, none, none, conditions, raters, None, "no clients", "no clients", lacking, {}, "no clients")


def _absent(keys: Mapping[str, Any], reason: str, n: int | None = None) -> dict[str, Any]:
    said = f"not estimable: {reason}" if reason.startswith(("needs", "no ", "too few")) else f"not estimable: needs {reason}"
    return {**keys, "n_clients": n, "status": "not_estimable", "reason": said, "method": "none"}


def _same(one: str, other: str) -> str:
    return "yes" if one == other else "no"


def quantities(scales: Sequence[str], contrast: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return quantity, component, contrast and estimate type of the rows of one phase, in the order of :func:`dominance_values`."""
    pairs = [(f"{one} - {other}", DOMINANCE) for one, other in combinations(scales, 2)]
    against = contrast_label(contrast)
    return [
        *((DOMINANCE, one, "", "dominance") for one in scales),
        (TOGETHER, "", "", "r_squared_change"),
        *((OTHERS, one, "", "r_squared_others") for one in scales),
        *((DOMINANCE, "", name, "dominance_contrast") for name, _ in pairs),
        (DOMINANCE, "", against, "dominance_contrast"),
    ]


def dominance_values(covariance: np.ndarray, scales: Sequence[str], contrast: Mapping[str, Any]) -> np.ndarray:
    """Return the quantities of one phase from covariances of outcome, intake level and components, shape (..., p, p) to (..., m)."""
    predictors = list(range(2, 2 + len(scales)))
    found = general_dominance(covariance, 0, predictors, [1])
    own = found[..., :-1]
    pairs = [own[..., one] - own[..., other] for one, other in combinations(range(len(scales)), 2)]
    together = [list(scales).index(one) for one in contrast["mean_of"]]
    pairs.append(own[..., together].mean(axis=-1) - own[..., list(scales).index(contrast["against"])])
    return np.concatenate([found, shared_with_others(covariance, predictors), np.stack(pairs, axis=-1)], axis=-1)


def _where_regular(covariance: np.ndarray, scales: Sequence[str], contrast: Mapping[str, Any]) -> np.ndarray:
    """Return :func:`dominance_values`, NaN where a variable does not vary or others give it exactly."""
    scaled = covariance / np.maximum(np.sqrt(np.einsum("...ii,...jj->...ij", covariance, covariance)), 1e-300)
    usable = np.linalg.eigvalsh(scaled)[..., 0] > 1e-9
    safe = np.where(usable[..., None, None], covariance, np.eye(covariance.shape[-1]))
    return np.where(usable[..., None], dominance_values(safe, scales, contrast), np.nan)


def correlation_names(scales: Sequence[str]) -> list[str]:
    """Return the names of the correlations that the pooled dominance rests on."""
    return [f"{one} with {other}" for one, other in combinations(("outcome", "intake", *scales), 2)]


def dominance(own: Sample, options: Mapping[str, Any], site: str) -> tuple[Part, Part]:
    """Return a site's rows of dominance, and the correlations they come from with their covariance."""
    question, told, behind = options["questions"]["components"], Part(), Part()
    scales, contrast = question["scales"], question["contrast"]
    rater, minimum = options["alliance"]["rater"], options["pooling"]["min_clients"]
    for phase in phases(options):
        named = [
            dict(zip(KEYS["dominance"], (rater, phase, quantity, scale, name, _same(rater, options["outcome"]["rater"]), kind)))
            for quantity, scale, name, kind in quantities(scales, contrast)
        ]
        data = np.column_stack([own.outcome, own.intake, *(own.values[scale, phase] for scale in scales)])
        used = np.isfinite(data).all(axis=1)
        n, needed = int(used.sum()), max(minimum, 5 * (len(scales) + 1))
        reason = own.reason or own.no_outcome
        if not reason and n < needed:
            reason = f"needs at least {needed} clients with outcome, intake level and all components in phase {phase}; has {n}"
        fields = {} if reason else _resampled(z_scores(data[used]), own.codes(used), options, (site, phase))
        reason = reason or fields.pop("lacking", "")
        if reason:
            for keys in named:
                told.add(_absent(keys, reason, n))
            continue
        common = {"n_clients": n, "n_therapists": None if own.therapists is None else len(np.unique(own.codes(used)))}
        common |= {"share_missing": 1 - n / own.size, "method": "bootstrap", **fields["told"]}
        for at, keys in enumerate(named):
            numbers = {name: float(fields[name][at]) for name in ("estimate", "ci_low", "ci_high")}
            told.add({**keys, **common, **numbers}, fields["std_error"][at] ** 2)
        _correlations(behind, phase, data[used], own.codes(used), scales, common, minimum)
    return told, behind


def _resampled(data: np.ndarray, codes: np.ndarray | None, options: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return estimates with percentile intervals over resampled therapists (clients where they are few or not known)."""
    question = options["questions"]["components"]

    def values(covariance: np.ndarray) -> np.ndarray:
        return _where_regular(covariance, question["scales"], question["contrast"])

    estimate = values(np.cov(data.T, ddof=0)[None])[0]
    if not np.isfinite(estimate).all():
        return {"lacking": "components that vary and do not determine each other"}
    products = resampled_products(data, codes)
    draws = bootstrap(products, values, options["resampling"]["draws"], generator(options["seed"], "components", *names))
    if np.isnan(draws).any(axis=1).mean() > MOST_FAILED:
        return {"lacking": "clients who differ in the components in most resamples"}
    units = len(products.sums)
    low, high = percentile_interval(draws, options["pooling"]["level"], units)
    few = products.unit == "rows"
    status = {
        "status": "flagged" if few else "estimated",
        "reason": "therapists not known or fewer than 10: clients resampled" if few else "",
    }
    error = np.nanstd(draws, axis=0, ddof=1) * np.sqrt(units / (units - 1))
    return {
        "estimate": estimate,
        "ci_low": np.minimum(low, estimate),
        "ci_high": np.maximum(high, estimate),
        "std_error": error,
        "told": status,
    }


def _correlations(
    part: Part, phase: str, data: np.ndarray, codes: np.ndarray | None, scales: Sequence[str], common: Mapping[str, Any], minimum: int
) -> None:
    """Add the correlations of outcome, intake level and components with their covariance by leaving out therapists."""
    names = [f"{phase}: {name}" for name in correlation_names(scales)]
    found = clustered_correlations(z_scores(data), codes, min_rows=minimum)
    if found.reason:
        return
    vcov = found.vcov
    kept = {key: common[key] for key in ("n_clients", "n_therapists", "share_missing")}
    for at, name in enumerate(names):
        told = {"status": "estimated", "reason": "", "method": found.method, "estimate_type": "correlation"}
        told |= {"phase": phase, "level": "client"}
        part.add({**kept, **told, "parameter": name, "estimate": float(found.estimate[at])}, vcov[at, at])
    pairs = [(one, other, vcov[one, other]) for one, other in combinations(range(len(names)), 2)]
    rows = [{"model": CORRELATIONS, "parameter1": names[one], "parameter2": names[other], "cov": value} for one, other, value in pairs]
    part.covariances = (
        pd.concat([part.covariances, pd.DataFrame(rows, columns=VCOV)], ignore_index=True) if len(part.covariances) else pd.DataFrame(rows)
    )


def phase_contrasts(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the later and the first of every pair of phases that is compared."""
    return [(name, names[0]) for name in names[1:]]


def by_phase(own: Sample, options: Mapping[str, Any]) -> Part:
    """Return how components go with the outcome and with conditions in each phase, on the same clients, and how they change."""
    part, question = Part(), options["questions"]["components"]
    _with_outcome(part, own, options)
    _levels(part, own, options)
    for condition in question["conditions"]:
        _with_condition(part, own, condition, options)
    if question["types"]["instruments"]:
        _types_with_outcome(part, own, options)
    return part


def _keys(topic: str, condition: str, rater: str, component: str, phase: str, contrast: str, same: str, kind: str) -> dict[str, Any]:
    return dict(zip(KEYS["by_phase"], (topic, condition, rater, component, phase, contrast, same, kind)))


def _pairs(scales: Sequence[str], options: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(scale, phase) for scale in scales for phase in phases(options)]


def _columns(own: Sample, options: Mapping[str, Any]) -> tuple[list[tuple[str, str]], np.ndarray]:
    pairs = _pairs(options["questions"]["components"]["scales"], options)
    return pairs, np.column_stack([own.values[pair] for pair in pairs])


def contrast_label(contrast: Mapping[str, Any]) -> str:
    """Return a contrast of components as its rows call it."""
    several = len(contrast["mean_of"]) > 1
    return f"{'mean of ' if several else ''}{', '.join(contrast['mean_of'])} - {contrast['against']}"


def _correlation_rows(
    part: Part,
    keys: tuple[str, str, str, str, str],
    data: np.ndarray,
    held: int,
    own: Sample,
    reason: str,
    options: Mapping[str, Any],
    of: tuple[Sequence[str], Mapping[str, Any]] | None = None,
) -> None:
    """Add correlations of every component and phase with what stands in the first column, and their contrasts.

    ``keys``: topic, condition, rater, whether one person gave both ratings, estimate type. ``of``: scales and their contrast, by default
    those of the configuration.
    """
    question = options["questions"]["components"]
    topic, condition, rater, same, kind = keys
    scales, contrast = of or (question["scales"], question["contrast"])
    pairs, names = _pairs(scales, options), list(phases(options))
    named = [_keys(topic, condition, rater, scale, phase, "", same, kind) for scale, phase in pairs]
    weights = []

    def weighed(scale: str, phase: str, weight: float) -> np.ndarray:
        return np.array([weight if pair == (scale, phase) else 0.0 for pair in pairs])

    for later, first in phase_contrasts(names):
        for scale in scales:
            named.append(_keys(topic, condition, rater, scale, "", f"{later} - {first}", same, "correlation_contrast"))
            weights.append(weighed(scale, later, 1.0) + weighed(scale, first, -1.0))
        label = contrast_label(contrast)
        named.append(_keys(topic, condition, rater, label, "", f"{later} - {first}", same, "correlation_contrast"))
        share = 1 / len(contrast["mean_of"])
        weights.append(
            sum(weighed(one, later, share) + weighed(one, first, -share) for one in contrast["mean_of"])
            - weighed(contrast["against"], later, 1.0)
            + weighed(contrast["against"], first, 1.0)
        )
    used = np.isfinite(data).all(axis=1)
    n, minimum = int(used.sum()), options["pooling"]["min_clients"]
    if not reason and n < minimum:
        reason = f"needs at least {minimum} clients with all components in all phases; has {n}"
    if reason:
        for keys in named:
            part.add(_absent(keys, reason, n))
        return
    matrix, first_column = np.array(weights).reshape(len(weights), len(pairs)), 1 + held

    def values(sums: np.ndarray) -> np.ndarray:
        covariance = covariance_of_sums(sums)
        r = [partial_correlation(covariance, 0, first_column + at, [1] if held else []) for at in range(len(pairs))]
        r = np.stack(r, axis=-1)
        return np.concatenate([r, r @ matrix.T], axis=-1)

    _add_all(part, named, jackknife(cross_products(z_scores(data[used])), values, len(named), own.codes(used), min_rows=minimum), own, n)


def _add_all(part: Part, named: Sequence[dict[str, Any]], found: Any, own: Sample, n: int) -> None:
    fields = result_fields(found, own.therapists is not None) | {"share_missing": 1 - n / own.size if own.size else None}
    for at, keys in enumerate(named):
        part.add({**keys, **fields, "estimate": float(found.estimate[at])}, found.vcov[at, at])


def _with_outcome(part: Part, own: Sample, options: Mapping[str, Any]) -> None:
    data = np.column_stack([own.outcome, own.intake, _columns(own, options)[1]])
    rater = options["alliance"]["rater"]
    keys = OUTCOME, "", rater, _same(rater, options["outcome"]["rater"]), "partial_correlation"
    _correlation_rows(part, keys, data, 1, own, own.reason or own.no_outcome, options)


def _with_condition(part: Part, own: Sample, condition: str, options: Mapping[str, Any]) -> None:
    data = np.column_stack([own.conditions[condition], _columns(own, options)[1]])
    rater = options["alliance"]["rater"]
    keys = CONDITION, condition, rater, _same(rater, own.condition_raters[condition]), "correlation"
    _correlation_rows(part, keys, data, 0, own, own.reason or own.no_condition[condition], options)


def _types_with_outcome(part: Part, own: Sample, options: Mapping[str, Any]) -> None:
    """Add how both types of helping alliance go with the outcome given intake level in each phase."""
    rater = options["questions"]["components"]["types"]["rater"]
    pairs, none = _pairs(TYPES, options), np.full(own.size, np.nan)
    data = np.column_stack([own.outcome, own.intake, *(own.types.get(pair, none) for pair in pairs)])
    keys = TYPE, "", rater, _same(rater, options["outcome"]["rater"]), "partial_correlation"
    _correlation_rows(part, keys, data, 1, own, own.no_types or own.no_outcome, options, (TYPES, OF_TYPES))


def _levels(part: Part, own: Sample, options: Mapping[str, Any]) -> None:
    """Add how far each component is above its first phase, in SD of clients there, on the same clients."""
    rater, names = options["alliance"]["rater"], list(phases(options))
    question, minimum = options["questions"]["components"], options["pooling"]["min_clients"]
    pairs, columns = _columns(own, options)
    used = np.isfinite(columns).all(axis=1)
    n = int(used.sum())
    named = [
        _keys(LEVEL, "", rater, scale, "", f"{later} - {first}", "", "mean_difference")
        for scale in question["scales"]
        for later, first in phase_contrasts(names)
    ]
    reason = own.reason or ("" if n >= minimum else f"needs at least {minimum} clients with all components in all phases; has {n}")
    if reason:
        for keys in named:
            part.add(_absent(keys, reason, n))
        return
    place = {pair: at for at, pair in enumerate(pairs)}

    def differences(sums: np.ndarray) -> np.ndarray:
        mean = sums[:, 1:, 0] / sums[:, :1, 0]
        covariance = covariance_of_sums(sums)
        found = []
        for scale in question["scales"]:
            for later, first in phase_contrasts(names):
                start = place[scale, first]
                found.append((mean[:, place[scale, later]] - mean[:, start]) / np.sqrt(covariance[:, start, start]))
        return np.stack(found, axis=-1)

    centred = columns[used] - columns[used].mean()
    _add_all(part, named, jackknife(cross_products(centred), differences, len(named), own.codes(used), min_rows=minimum), own, n)


def parts_of(own: Sample, options: Mapping[str, Any], site: str) -> dict[str, Part]:
    """Return the rows of both tables and the correlations behind them."""
    told, behind = dominance(own, options, site)
    return {"dominance": told, "by_phase": by_phase(own, options), CORRELATIONS: behind}


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any]) -> SiteSummary:
    """Return what one site says about the components of the alliance.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``, and ``seed``.
    constants : mapping
        Not used.
    """
    own, lacking = sample(site, options), SUMMARIES_ONLY if site.published is not None else ""
    parts = parts_of(own, options, site.site)
    fields = summary_fields({**parts, **{table: with_names(parts[table], NAMING[table], "client", lacking) for table in tables}})
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="components",
        facts={"reason": lacking},
        **{**fields, "n": {**fields["n"], "clients": own.size}},
    )


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables ``dominance`` and ``by_phase``; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``pool_reads``, and ``seed``.
    tables : mapping
        Not used.
    """
    summaries, pooling = sorted(summaries, key=lambda one: one.site), options["pooling"]
    gathered = effects.gather(summaries)
    every = parts_of(nobody(options), options, "")
    found = {}
    for name, keys in KEYS.items():
        chosen = gathered[gathered["model"].eq(name)] if len(gathered) else gathered
        groups = pd.DataFrame(every[name].rows).reindex(columns=keys).fillna("")
        frames = []
        if len(chosen):
            # Who rated a condition may differ between sites.
            by = [key for key in keys if key != "same_rater"]
            agreed = chosen.groupby(by)["same_rater"].transform(lambda values: values.iloc[0] if values.nunique() == 1 else "mixed")
            metric = effects.pooling_scale(pooling)
            scale_of = chosen["estimate_type"].map({"correlation": metric, "partial_correlation": metric}).fillna("identity")
            for scale, part in chosen.groupby(scale_of, sort=True):
                frames.append(effects.site_rows(effects.scaled(part, scale), scale, pooling["level"]))
                if name == "by_phase":
                    together = effects.scaled(part.assign(same_rater=agreed[part.index]), scale)
                    frames.append(effects.pooled_rows(together, keys, scale, pooling))
            if name == "dominance":
                frames.append(_pooled_dominance(gathered, summaries, groups, options))
        found[name] = effects.stack(*frames, effects.absent_site_rows(summaries, groups, "identity"))
    return {name: finish(found[name], "components", name) for name in found}


def _pooled_dominance(
    gathered: pd.DataFrame, summaries: Sequence[SiteSummary], groups: pd.DataFrame, options: Mapping[str, Any]
) -> pd.DataFrame:
    """Return the dominance that the pooled correlations imply, since shares near zero have errors near zero and would weigh too much."""
    from alliance.statistics.multivariate_meta import pool_coefficients

    question, pooling = options["questions"]["components"], options["pooling"]
    scales, rows = question["scales"], []
    size = len(scales) + 2

    def quantities_of(matrices: np.ndarray) -> np.ndarray:
        return _where_regular(matrices, scales, question["contrast"])

    for phase in phases(options):
        names = [f"{phase}: {name}" for name in correlation_names(scales)]
        y, v, used = [], [], []
        for one in summaries:
            own = gathered[gathered["model"].eq(CORRELATIONS) & gathered["site"].eq(one.site)].set_index("parameter")
            found = own["estimate"].reindex(names).to_numpy(dtype=float)
            if not np.isfinite(found).all():
                continue
            known = one.vcov[one.vcov["model"].eq(CORRELATIONS)].set_index(["parameter1", "parameter2"])["cov"].to_dict()
            vcov = np.array([[known.get((a, b), known.get((b, a), np.nan)) for b in names] for a in names], dtype=float)
            slope = 1 / (1 - found**2)
            y.append(np.arctanh(found))
            v.append(vcov * np.outer(slope, slope))
            used.append(own.loc[names[0]])
        wanted = groups[groups["phase"].eq(phase)].to_dict("records")
        base = {"site": POOLED, "scale": "identity", "n_sites": len(used)}
        if len(used) < pooling["min_sites"]:
            lacking = {"status": "not_estimable", "reason": effects.too_few_sites(len(used), pooling), "method": "none"}
            rows += [{**keys, **base, **lacking} for keys in wanted]
            continue
        likelihood = "fixed" if pooling["tau2"] == "fixed" else "reml"
        fit = pool_coefficients(
            np.array(y), np.array(v), names, likelihood=likelihood, interval=pooling["interval"], level=pooling["level"]
        )
        counts = {name: _sum([one[name] for one in used]) for name in ("n_clients", "n_therapists")}
        for at, keys in enumerate(wanted):
            random = generator(options["seed"], "components", POOLED, phase, at)
            found = of_pooled_correlations(fit, quantities_of, at, random, size=size, level=pooling["level"])
            if found.estimate is None or not np.isfinite(found.estimate):
                rows.append(
                    {**keys, **base, **counts, "status": "not_estimable", "reason": f"not estimable: {found.reason}", "method": "none"}
                )
                continue
            ends = {"ci_low": found.ci_low, "ci_high": found.ci_high}
            if not keys["contrast"] and found.ci_low is not None:
                # Shares lie between 0 and 1; intervals by the delta method do not know.
                ends = {"ci_low": max(min(0.0, found.estimate), found.ci_low), "ci_high": min(1.0, found.ci_high)}
            status = {"status": "flagged" if found.reason else "estimated", "reason": found.reason, "method": "multivariate_reml"}
            rows.append({**keys, **base, **counts, **ends, **status, "estimate": found.estimate, "std_error": found.std_error})
    return pd.DataFrame(rows)


def _sum(values: Sequence[Any]) -> float | None:
    return None if any(pd.isna(one) for one in values) else float(sum(values))


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    sites = {name: one[one["site"].ne(POOLED) & one["status"].isin(WITH_NUMBERS)] for name, one in tables.items()}
    if all(one.empty for one in sites.values()):
        return [Sentence("Components of the alliance could not be compared: no site has them with the outcome of enough clients.")]
    scales = ", ".join(options["questions"]["components"]["scales"])
    told = []
    if len(sites["dominance"]):
        told.append(
            Sentence(
                f"What {scales} bring to the outcome beyond the intake level was told by general dominance (the mean increase of R² over "
                f"all sets of the other components), with bootstrap intervals over therapists ({options['resampling']['draws']:,} draws); "
                "over sites, as what the pooled correlations imply, with intervals by the delta method.",
                ("budescu_1993", "azen_budescu_2003"),
            )
        )
    if len(sites["by_phase"]):
        told.append(
            Sentence(
                "Components were correlated with the outcome (given intake level) and with conditions that the therapist offers in each "
                "phase on the same clients, so that phases and components are compared within one model."
            )
        )
        if sites["by_phase"]["topic"].eq(TYPE).any():
            told.append(
                Sentence(
                    "So were the two types of helping alliance (the therapist helps; both work together) with the outcome.",
                    ("luborsky_1976",),
                )
            )
        told += cluster_sentences(sites["by_phase"]["method"])
        if (tables["by_phase"]["site"].eq(POOLED) & tables["by_phase"]["status"].isin(WITH_NUMBERS)).any():
            told.append(pooling_sentence(options["pooling"]))
    return told
