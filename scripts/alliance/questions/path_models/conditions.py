"""Therapist-offered conditions and social influence: with the outcome, with the alliance, and beside it (claims H9, I1 to I4, I7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.alliance_outcome.contrasts import (
    CONTRAST,
    Term,
    common_rows,
    group_blocks,
    main_outcome,
    outcome_columns,
    preferred,
    result_fields,
    z_scores,
)
from alliance.questions.alliance_outcome.measures import FORMS, SiteMeasures, measures
from alliance.questions.alliance_outcome.pooling import scaled, slope_over_sites, with_equivalence
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.correlations import published_correlations, published_fields, published_matrix, row_fields
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.correlation import correlations
from alliance.statistics.covariance import correlation_matrix, part_correlation, partial_correlation, regression
from alliance.statistics.jackknife import covariance_of_sums, cross_products, jackknife
from alliance.statistics.overlap import normal_theory_variance
from alliance.variables.checks import CONDITIONS, score_names
from alliance.variables.client import measure, order_violations

OUTCOME, MODALITY, RATERS, PHASE, BESIDE, SETTING = "outcome", "modality", "raters", "phase", "beside_alliance", "setting"
INFLUENCE = "social_influence"
ALLIANCE = "alliance"
SEEN = ("client", "observer")
CLINICAL, ANALOGUE = "clinical", "analogue"
SLOPE, SLOPE_CONTRAST, SEMIPARTIAL = "slope_standardised", "slope_contrast", "semipartial_correlation"
SQUARES = {SEMIPARTIAL: "r_squared_change"}
KEYS = ("topic", "variable", "rater", "window", "phase", "form", "where", "pair", "group", "contrast", "same_rater")
_PHASE_PAIRS = (("early", "late"), ("early", "middle"))
_JOINT = 5


@dataclass(frozen=True)
class Rated:
    """A condition, or a scale of social influence, over the clients of a site.

    Attributes
    ----------
    name, rater, window : str
        What, rated by whom, in which window.
    every, values, sessions : ndarray, shape (clients,)
        Mean rating (NaN: none), the same without ratings made after the outcome was measured, and number of ratings behind it.
    late : int
        Clients whose rating came after the outcome.
    source, reason : str
        The measure in words, and why there is none.
    """

    name: str
    rater: str
    window: str
    every: np.ndarray
    values: np.ndarray
    sessions: np.ndarray
    late: int
    source: str
    reason: str


def _section(name: str) -> str:
    return name if name in CONDITIONS else INFLUENCE


def _variables(options: Mapping[str, Any]) -> list[str]:
    """Return the conditions and the scales of social influence that the configuration has instruments for."""
    names = (*CONDITIONS, *options["questions"]["path_models"]["conditions"]["influence"])
    return [name for name in names if options[_section(name)].get("instruments")]


@dataclass
class _Ratings:
    """The ratings of one site, each made when it is first asked for."""

    site: SiteData
    found: SiteMeasures
    options: Mapping[str, Any]
    known: dict[tuple[str, str, str], Rated] = field(default_factory=dict)

    def of(self, name: str, rater: str | None = None, window: str | None = None) -> Rated:
        """Return a condition or scale; rater and window by default those of its section."""
        section = self.options[_section(name)]
        key = (name, rater or section["rater"], window or section["window"])
        if key not in self.known:
            self.known[key] = self._made(*key)
        return self.known[key]

    def _made(self, name: str, rater: str, window: str) -> Rated:
        found = self.found
        definition = {"construct": _section(name), "rater": rater, "window": window} | ({} if name in CONDITIONS else {"scale": name})
        one = measure(self.site, definition, self.options)
        outcome = found.outcomes.get(main_outcome(self.options))
        late = order_violations(one, outcome.found) if outcome is not None and not one.reason else []
        every = one.values.reindex(found.clients).to_numpy(dtype=float)
        values = np.where(found.clients.isin(late), np.nan, every)
        sessions = one.times["n_sessions"].reindex(found.clients).fillna(0).to_numpy(dtype=float)
        return Rated(name, rater, window, every, values, sessions, len(late), "" if one.reason else one.source, one.reason)


def _window(options: Mapping[str, Any]) -> str:
    """Return the sessions in which raters, and predictors, are compared: by default those of the alliance."""
    return options["questions"]["path_models"]["conditions"]["window"] or options["alliance"]["window"]


def _keys(topic: str, variable: str, rater: str, window: str, form: str, options: Mapping[str, Any], **more: str) -> dict[str, Any]:
    """Return the columns that identify a row; ``model`` and ``parameter`` are added when rows are gathered."""
    same = "yes" if rater == options["outcome"]["rater"] else "mixed" if " and " in rater else "no"
    keys = {"topic": topic, "variable": variable, "rater": rater, "window": window, "form": form, "same_rater": same}
    return {**dict.fromkeys(KEYS, ""), **keys, "where": "within_sites", **more}


def _add(part: Part, rows: Sequence[Mapping[str, Any]], variances: Sequence[float]) -> None:
    for row, variance in zip(rows, variances):
        parameter = "; ".join(str(row[key]) for key in (*KEYS, "estimate_type") if row[key])
        part.add({"level": "client", **row, "parameter": parameter}, variance)


def _add_absent(part: Part, keys: Mapping[str, Any], kind: str, reason: str) -> None:
    fields = {"estimate_type": kind, "method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"}
    _add(part, [{**keys, **fields}], [np.nan])


def estimate(site: SiteData, options: Mapping[str, Any]) -> Part:
    """Return one site's rows.

    Clients are the units; standard errors respect clients who share a therapist. Ratings made after the outcome are left out and counted.

    Parameters
    ----------
    site : SiteData
    options : mapping
        Sections ``alliance, outcome, empathy, regard, unconditionality, congruence, social_influence, pooling`` and
        ``questions.path_models``.
    """
    settings = options["questions"]["path_models"]["conditions"]
    part = Part(facts={"setting": _setting(site)})
    if site.published is not None:
        _from_published(part, site.published, options)
        return part
    phases = {phase: window for phase, window in settings["phases"].items() if window}
    alliance = {**options["alliance"], "window": _window(options)}
    chosen = {**options, "alliance": alliance, "questions": {"alliance_outcome": {"windows": list(phases.values())}}}
    found = measures(site, chosen, every=False, main_raters=True)
    outcome = found.outcomes.get(main_outcome(options))
    ratings = _Ratings(site, found, options)
    rated = {name: ratings.of(name) for name in _variables(options)}
    part.facts |= {
        "sources": {name: one.source for name, one in rated.items() if one.source},
        "left_out_after_outcome": {name: one.late for name, one in rated.items() if one.late},
    }
    lacking = "" if outcome is not None else f"needs an outcome; {found.reasons.get(main_outcome(options), 'none was measured')}"
    _outcome_rows(part, found, rated, lacking, options)
    if not lacking:
        _modality_rows(part, site, found, rated, options)
        _rater_rows(part, ratings, found, options)
        for name in rated:
            _beside_rows(part, ratings, found, name, options)
    _phase_rows(part, ratings, found, phases, options)
    return part


def _setting(site: SiteData) -> str:
    """Return whether treatments were real, as ``design`` in ``site.yaml`` says; empty where it does not."""
    design = str(site.facts.get("design") or "").lower()
    return "" if not design else ANALOGUE if "analog" in design else CLINICAL


def _forms(options: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((options["outcome"]["form"], "zero_order")))


def _term(found: SiteMeasures, one: Rated, options: Mapping[str, Any], label: str = "", **keys: str) -> Term:
    outcome = found.outcomes[main_outcome(options)]
    return Term(label or one.name, one.values, outcome.post, outcome.intake, one.sessions, keys)


def _outcome_rows(part: Part, found: SiteMeasures, rated: Mapping[str, Rated], lacking: str, options: Mapping[str, Any]) -> None:
    """Add r of every condition and every scale of social influence with the outcome (claims I1, I7)."""
    minimum = options["pooling"]["min_clients"]
    for form in _forms(options):
        kind = FORMS[form]
        outcome = found.outcomes.get(main_outcome(options))
        held = form in ("ancova", "residual_gain")
        blocked = lacking or (outcome.no_intake if outcome is not None and form != "zero_order" else "")
        usable = [] if blocked else [one for one in rated.values() if not one.reason]
        for one in rated.values():
            if blocked or one.reason:
                _add_absent(part, _keys(OUTCOME, one.name, one.rater, one.window, form, options), kind, blocked or one.reason)
        if not usable or outcome is None:
            continue
        x = np.column_stack([one.values for one in usable])
        y = outcome.post - outcome.intake if form == "change" else outcome.post
        controls = outcome.intake if held else None
        result = correlations(
            x,
            np.tile(y[:, None], (1, x.shape[1])),
            found.therapists,
            controls=controls,
            part=form == "residual_gain",
            min_rows=minimum,
        )
        complete = np.isfinite(x) & (np.isfinite(y) & (np.isfinite(outcome.intake) | (not held)))[:, None]
        rows = []
        for position, one in enumerate(usable):
            rows.append(
                {
                    **_keys(OUTCOME, one.name, one.rater, one.window, form, options),
                    **row_fields(result, position, found.therapists is not None),
                    "estimate_type": kind,
                    "n_sessions": int(one.sessions[complete[:, position]].sum()),
                    "share_missing": _share_missing(int(result.n[position]), found),
                }
            )
        _add(part, rows, (result.se_z * (1 - result.r**2)) ** 2)


def _share_missing(n: int, found: SiteMeasures) -> float | None:
    return 1 - n / len(found.clients) if len(found.clients) else None


def _modality_rows(part: Part, site: SiteData, found: SiteMeasures, rated: Mapping[str, Rated], options: Mapping[str, Any]) -> None:
    """Add the same r in every two treatments of the site and its difference (claim I1)."""
    column, form = options["questions"]["path_models"]["conditions"]["modality"], options["outcome"]["form"]
    if not column:
        return
    present = [one for one in rated.values() if not one.reason]
    if column not in site.clients:
        for one in present[:1]:
            keys = _keys(MODALITY, one.name, one.rater, one.window, form, options)
            _add_absent(part, keys, CONTRAST, f"needs the column {column} of the clients table")
        return
    values = site.clients.drop_duplicates("client_no").set_index("client_no")[column].reindex(found.clients)
    part.facts["modality"] = {str(name): float(share) for name, share in values.dropna().value_counts(normalize=True).sort_index().items()}
    for one in present:
        keys = _keys(MODALITY, one.name, one.rater, one.window, form, options)
        blocks = group_blocks(_term(found, one, options), values, found, options, keys)
        for rows, vcov in blocks:
            _add(part, rows[:3], np.diag(vcov)[:3])
        if not blocks:
            few = f"needs two groups of {column} with at least {options['pooling']['min_clients']} clients each"
            _add_absent(part, keys, CONTRAST, few)


def _rater_rows(part: Part, ratings: _Ratings, found: SiteMeasures, options: Mapping[str, Any]) -> None:
    """Add empathy as clients perceive and as observers see it, each with the outcome of the same clients (claim I2)."""
    if not options["empathy"].get("instruments"):
        return
    window = _window(options)
    seen = [ratings.of("empathy", rater, window) for rater in SEEN]
    pair = " and ".join(SEEN)
    for form in _forms(options):
        common = _keys(RATERS, "empathy", pair, window, form, options, pair=pair)
        lacking = next((one.reason for one in seen if one.reason), "")
        if lacking:
            _add_absent(part, {**common, "contrast": " - ".join(SEEN)}, CONTRAST, lacking)
            continue
        same = ("yes" if one.rater == options["outcome"]["rater"] else "no" for one in seen)
        terms = [_term(found, one, options, one.rater, rater=one.rater, same_rater=same_rater) for one, same_rater in zip(seen, same)]
        contrasts = {" - ".join(SEEN): (1, -1)}
        _add_block(part, common_rows(terms, contrasts, found.therapists, form, options["pooling"]["min_clients"], common))


def _add_block(part: Part, block: tuple[list[dict[str, Any]], np.ndarray]) -> None:
    _add(part, block[0], np.diag(block[1]))


def _phase_rows(part: Part, ratings: _Ratings, found: SiteMeasures, phases: Mapping[str, str], options: Mapping[str, Any]) -> None:
    """Add r of empathy with the alliance in every phase, and what it loses from early on, on the same clients (claims H9, I3)."""
    if not options["empathy"].get("instruments"):
        return
    rater = options["empathy"]["rater"]
    terms: dict[str, Term] = {}
    nothing = np.full(len(found.clients), np.nan)
    for phase, window in phases.items():
        one = ratings.of("empathy", window=window)
        alliance = found.alliance.get(preferred(found, options["alliance"]["rater"], window, options))
        if not one.reason and alliance is not None:
            terms[phase] = Term(phase, one.every, alliance, nothing, one.sessions, {"phase": phase, "window": window})
    common = _keys(PHASE, "empathy", rater, "", "zero_order", options)
    common["same_rater"] = "yes" if rater == options["alliance"]["rater"] else "no"
    minimum = options["pooling"]["min_clients"]
    for one in terms.values():
        _add_block(part, common_rows([one], {}, found.therapists, "zero_order", minimum, common))
    if not terms:
        _add_absent(
            part, {**common, "phase": next(iter(phases), "")}, FORMS["zero_order"], "needs empathy and alliance of the same sessions"
        )
    for pair in _PHASE_PAIRS:
        if not set(pair) <= set(phases):
            continue
        own = {**common, "pair": " and ".join(pair)}
        contrast = " - ".join(pair)
        if not set(pair) <= set(terms):
            missing = " and ".join(phase for phase in pair if phase not in terms)
            _add_absent(
                part,
                {**own, "contrast": contrast},
                CONTRAST,
                f"needs empathy and alliance in the phases {pair[0]} and {pair[1]}; lacks {missing}",
            )
            continue
        _add_block(part, common_rows([terms[phase] for phase in pair], {contrast: (1, -1)}, found.therapists, "zero_order", minimum, own))


def _beside_rows(part: Part, ratings: _Ratings, found: SiteMeasures, name: str, options: Mapping[str, Any]) -> None:
    """Add the alliance against one condition as predictors of the outcome: r of both, joint slopes, what each adds (claims I4, I7)."""
    window, form = _window(options), options["outcome"]["form"]
    minimum = options["pooling"]["min_clients"]
    one = ratings.of(name, window=window)
    rater = options["alliance"]["rater"]
    key = preferred(found, rater, window, options)
    pair, contrast = f"{ALLIANCE} and {name}", f"{ALLIANCE} - {name}"
    both = rater if rater == one.rater else f"{rater} and {one.rater}"
    common = _keys(BESIDE, name, both, window, form, options, pair=pair)
    outcome = main_outcome(options)
    lacking = one.reason or ("" if key in found.alliance else found.reasons.get(key, "no alliance in these sessions"))
    if lacking:
        _add_absent(part, {**common, "contrast": contrast}, CONTRAST, lacking)
        return
    of_variable = _variable_keys(name, one.rater, options)
    of_alliance = _variable_keys(ALLIANCE, rater, options)
    values = found.outcomes[outcome]
    alliance = Term(ALLIANCE, found.of(key, outcome), values.post, values.intake, found.sessions[key], of_alliance)
    other = _term(found, one, options, name, **of_variable)
    for chosen in _forms(options):
        own = {**common, "form": chosen}
        _add_block(part, common_rows([alliance, other], {contrast: (1, -1)}, found.therapists, chosen, minimum, own))
    column, controls = outcome_columns(alliance, form)
    data = np.column_stack([alliance.alliance, other.alliance, column, *controls])
    complete = np.isfinite(data).all(axis=1)
    held = list(range(3, data.shape[1]))
    therapists = None if found.therapists is None else found.therapists[complete]
    result = jackknife(
        cross_products(z_scores(data[complete])),
        lambda sums: _joint(covariance_of_sums(sums), held),
        _JOINT,
        therapists,
        min_rows=minimum,
    )
    fields = result_fields(result, found.therapists is not None)
    sessions = int(np.maximum(alliance.sessions, other.sessions)[complete].sum())
    counted = {**fields, "n_sessions": sessions, "share_missing": _share_missing(result.n, found)}
    rows = [{**row, **counted, "estimate": value} for row, value in zip(_joint_keys(common, of_alliance, of_variable), result.estimate)]
    _add(part, rows, np.diag(result.vcov))


def _variable_keys(name: str, rater: str, options: Mapping[str, Any]) -> dict[str, str]:
    return {"variable": name, "rater": rater, "same_rater": "yes" if rater == options["outcome"]["rater"] else "no"}


def _joint(covariance: np.ndarray, held: list[int]) -> np.ndarray:
    """Return the standardised slopes of (first, second) variable, their difference, and both semipartial r with the third variable."""
    slopes = regression(correlation_matrix(covariance), 2, [0, 1, *held])
    parts = [part_correlation(covariance, 2, i, [1 - i, *held]) for i in (0, 1)]
    return np.stack([slopes[..., 0], slopes[..., 1], slopes[..., 0] - slopes[..., 1], *parts], axis=-1)


def _joint_keys(common: Mapping[str, Any], first: Mapping[str, str], second: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the identifying columns of what :func:`_joint` returns, in its order."""
    given = [f"{one['variable']} given {other['variable']}" for one, other in ((first, second), (second, first))]
    contrast = f"{first['variable']} - {second['variable']}"
    return [
        {**common, **first, "contrast": given[0], "estimate_type": SLOPE},
        {**common, **second, "contrast": given[1], "estimate_type": SLOPE},
        {**common, "contrast": contrast, "estimate_type": SLOPE_CONTRAST},
        {**common, **first, "contrast": given[0], "estimate_type": SEMIPARTIAL},
        {**common, **second, "contrast": given[1], "estimate_type": SEMIPARTIAL},
    ]


def _from_published(part: Part, published: Published, options: Mapping[str, Any]) -> None:
    """Add what a published matrix, or published correlations with the outcome, say; raters and windows are taken as configured."""
    matrix = {frozenset((row.var1, row.var2)): (row.r, row.n) for row in published_correlations(published).itertuples(index=False)}
    known = {name for pair in matrix for name in pair}
    own = published.effects
    own = own[own["question"].eq("path_models") & own["model"].eq("conditions")]
    direct = {row.parameter: row for row in own.itertuples(index=False)}
    minimum, form = options["pooling"]["min_clients"], options["outcome"]["form"]
    intake = next((name for name in ("intake", "intake_level") if name in known), "intake")

    def present(name: str, rater: str) -> str:
        return next((one for one in _published_names(name, rater, options) if one in known), "")

    for name in _variables(options):
        section = options[_section(name)]
        here = present(name, section["rater"])
        for chosen in _forms(options):
            keys = _keys(OUTCOME, name, section["rater"], section["window"], chosen, options)
            held = [intake] if chosen in ("ancova", "residual_gain") else []
            if f"{name}.{chosen}" in direct:
                effect = direct[f"{name}.{chosen}"]
                fields, variance = published_fields(effect.estimate, effect.n, effect.std_error, minimum, held=len(held))
            elif not here or chosen == "change":
                lacks = f"the site published no correlation of {name} with the outcome"
                _add_absent(part, keys, FORMS[chosen], lacks if not here else "a published matrix holds no change scores")
                continue
            else:
                r, n, reason = published_matrix([here, "outcome", *held], matrix, minimum)
                if reason:
                    _add_absent(part, keys, FORMS[chosen], reason)
                    continue
                of = part_correlation if chosen == "residual_gain" else partial_correlation
                fields, variance = published_fields(float(of(r, 0, 1, list(range(2, len(r))))), n, None, minimum, held=len(held))
            _add(part, [{**keys, **fields, "estimate_type": FORMS[chosen]}], [variance])
    pairs = [(RATERS, "empathy", "empathy", *SEEN)] if options["empathy"].get("instruments") else []
    pairs += [(BESIDE, ALLIANCE, name, options["alliance"]["rater"], options[_section(name)]["rater"]) for name in _variables(options)]
    for topic, first, second, rater1, rater2 in pairs:
        names = [present(first, rater1), present(second, rater2)]
        if not all(names) or form == "change":
            continue
        raters = rater1 if rater1 == rater2 else f"{rater1} and {rater2}"
        labels = SEEN if topic == RATERS else (first, second)
        common = _keys(topic, second, raters, _window(options), form, options, pair=" and ".join(labels))
        keys = [_variable_keys(name, rater, options) for name, rater in ((first, rater1), (second, rater2))]
        for chosen in _forms(options):
            held = [intake] if chosen in ("ancova", "residual_gain") else []
            r, n, reason = published_matrix([*names, "outcome", *held], matrix, minimum)
            own_keys = {**common, "form": chosen}
            kinds = [{**own_keys, **one, "estimate_type": FORMS[chosen]} for one in keys]
            kinds.append({**own_keys, "contrast": " - ".join(labels), "estimate_type": CONTRAST})
            if reason:
                _add_absent(part, kinds[-1], CONTRAST, reason)
                continue
            of = part_correlation if chosen == "residual_gain" else partial_correlation
            rest = list(range(3, len(r)))

            def both(stack: np.ndarray, of: Callable[..., np.ndarray] = of, rest: list[int] = rest) -> np.ndarray:
                values = [of(stack, i, 2, rest) for i in (0, 1)]
                return np.stack([*values, values[0] - values[1]], axis=-1)

            _add_published(part, kinds, both, r, n)
            if topic == BESIDE and chosen == form:
                _add_published(part, _joint_keys(own_keys, *keys), lambda stack, rest=rest: _joint(stack, rest), r, n)


def _add_published(part: Part, rows: list[dict[str, Any]], function: Callable[[np.ndarray], np.ndarray], r: np.ndarray, n: int) -> None:
    """Add functions of a published matrix, clients taken as independent and normal."""
    values = function(r[None])[0]
    fields = {"n_clients": n, "method": "normal_theory", "status": "estimated", "reason": ""}
    spread = [normal_theory_variance(lambda stack, which=which: function(stack)[..., which], r, n) for which in range(len(rows))]
    _add(part, [{**row, **fields, "estimate": float(value)} for row, value in zip(rows, values)], spread)


def _published_names(name: str, rater: str, options: Mapping[str, Any]) -> list[str]:
    """Return the names that a published matrix may have for a variable of one rater, in order of preference."""
    section = options[ALLIANCE if name == ALLIANCE else _section(name)]
    by_scale = name not in (ALLIANCE, *CONDITIONS)
    scores = [f"{instrument}.{name if by_scale else scale}" for instrument, scale in score_names(section)]
    own = [*([] if by_scale else [name]), *scores] if rater == section["rater"] else []
    return [*(f"{score}.{rater}" for score in scores), *own]


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of the sites, the pooled rows, and how they differ with treatments and settings of sites.

    Parameters
    ----------
    gathered : DataFrame
        Estimates of this part, from :func:`alliance.questions.effects.gather`.
    summaries : sequence of SiteSummary
    options : mapping
        Sections ``pooling`` and ``questions.path_models``.
    """
    pooling = options["pooling"]
    keys = [*KEYS, "estimate_type"]
    head = pd.DataFrame([{**dict.fromkeys(KEYS, ""), "topic": OUTCOME, "estimate_type": FORMS["ancova"]}])
    if gathered.empty:
        return effects.absent_site_rows(summaries, head, "identity")
    numbered = scaled(gathered, options)
    frames = []
    for scale, own in numbered.groupby("scale", sort=True):
        pooled = effects.pooled_rows(own, keys, str(scale), pooling)
        frames += [effects.site_rows(own, str(scale), pooling["level"]), pooled]
        main = pooled[pooled["topic"].eq(OUTCOME) & pooled["form"].ne("zero_order")]
        frames.append(effects.absent_site_rows(summaries, main[keys], str(scale)))
    # A site's reason why nothing could be compared is no comparison that could be pooled.
    rows = effects.stack(*frames)
    reasons = rows["site"].eq(POOLED) & rows["topic"].eq(MODALITY) & rows["pair"].eq("")
    rows = rows[~(reasons & (rows["topic"].eq(MODALITY) & rows["pair"].ne("")).any())]
    main = numbered[numbered["topic"].eq(OUTCOME) & numbered["form"].ne("zero_order")]
    facts = {summary.site: summary.facts.get("conditions", {}) for summary in summaries}
    rows = effects.stack(rows, _between_modalities(main, facts, options), _by_setting(main, facts, options))
    rows = effects.stack(rows, effects.squared(rows[rows["estimate_type"].isin(SQUARES)], SQUARES))
    return with_equivalence(rows, options["questions"]["path_models"]["conditions"]["equivalence_bound"], pooling)


def _slope(own: pd.DataFrame, values: Mapping[str, float], options: Mapping[str, Any], **keys: str) -> dict[str, Any]:
    """Return the row of a regression of the sites' r of one variable on what the sites are like."""
    known = own[own["site"].isin(list(values)) & own["y"].notna() & own["v"].notna()]
    first = {name: own.iloc[0][name] for name in KEYS}
    found = slope_over_sites(known, [values[site] for site in known["site"]], options["pooling"])
    return {**first, "where": "between_sites", "estimate_type": "slope_on_moderator", "scale": own.iloc[0]["scale"], **keys, **found}


def _between_modalities(main: pd.DataFrame, facts: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return how r with the outcome changes with the share of clients in a treatment, between sites (claim I1)."""
    shares = {site: one["modality"] for site, one in facts.items() if one.get("modality")}
    groups = sorted({group for one in shares.values() for group in one})
    # With two groups the second share says nothing new.
    groups = groups[: len(groups) - 1] if len(groups) > 1 else []
    rows = []
    for _, own in main.groupby(list(KEYS), sort=True):
        for group in groups:
            values = {site: one.get(group, 0.0) for site, one in shares.items()}
            rows.append(_slope(own, values, options, topic=MODALITY, group=f"share of {group}"))
    return pd.DataFrame(rows)


def _by_setting(main: pd.DataFrame, facts: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return r of social influence with the outcome pooled over clinical and over analogue sites, and their difference (claim I7)."""
    settings = {site: one["setting"] for site, one in facts.items() if one.get("setting")}
    influence = main[~main["variable"].isin(CONDITIONS)]
    if influence.empty:
        return pd.DataFrame()
    scale = str(influence.iloc[0]["scale"])
    placed = influence.assign(topic=SETTING, group=[settings.get(site, "") for site in influence["site"]], where="between_sites")
    known = placed[placed["group"].ne("")]
    pooled = effects.pooled_rows(known, [*KEYS, "estimate_type"], scale, options["pooling"]) if len(known) else pd.DataFrame()
    rows = []
    for _, own in placed.assign(group="").groupby(list(KEYS), sort=True):
        usable = own[own["y"].notna() & own["v"].notna() & own["site"].isin(list(settings))]
        counts = {name: sum(settings[site] == name for site in usable["site"]) for name in (CLINICAL, ANALOGUE)}
        contrast = f"{ANALOGUE} - {CLINICAL}"
        if all(counts.values()):
            values = {site: float(setting == ANALOGUE) for site, setting in settings.items()}
            rows.append(_slope(own, values, options, topic=SETTING, contrast=contrast))
            continue
        first = {name: own.iloc[0][name] for name in KEYS} | {"contrast": contrast, "site": POOLED, "scale": scale, "n_sites": len(usable)}
        reason = (
            "not estimable: needs clinical and analogue sites (design in site.yaml); has "
            f"{counts[CLINICAL]} clinical and {counts[ANALOGUE]} analogue with an estimate"
        )
        rows.append({**first, "estimate_type": "slope_on_moderator", "method": "none", "status": "not_estimable", "reason": reason})
    return effects.stack(pooled, pd.DataFrame(rows))


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys.

    Parameters
    ----------
    options : mapping
        Sections ``pooling`` and ``questions.path_models``.
    table : DataFrame
        ``tables/path_models/conditions.csv``.
    """
    found = table[table["status"].isin(WITH_NUMBERS) & table["where"].isin(["within_sites", "between_sites"])]
    if found.empty:
        return [Sentence("No site has therapist-offered conditions or social influence with outcome or alliance for enough clients.")]
    settings = options["questions"]["path_models"]["conditions"]
    named = ", ".join(sorted(set(found.loc[found["topic"].eq(OUTCOME), "variable"])))
    sentences = []
    if named:
        text = f"Related to the outcome: {named}, each with the first instrument of the configuration that a site has. "
        sentences.append(Sentence(text + "Ratings made after the outcome was measured were left out.", ()))
    if found["topic"].isin([RATERS, BESIDE]).any():
        text = (
            "Two correlations with one outcome were compared on the same clients, as correlations that depend on each other; the alliance "
            "and a condition were also entered together, for standardised slopes and for the variance that each adds to the other. A claim "
            f"of no difference was tested by two one-sided tests against ±{settings['equivalence_bound']:g}."
        )
        sentences.append(Sentence(text, ("steiger_1980", "schuirmann_1987")))
    if found["topic"].eq(PHASE).any():
        sentences.append(
            Sentence("Phases were compared by the correlations of empathy and alliance in each, on the clients rated in both.")
        )
    if found["topic"].isin([MODALITY, SETTING]).any():
        text = "Differences between treatments within sites and between sites are kept apart; with few sites the latter only describe."
        sentences.append(Sentence(text))
    return [*sentences, *cluster_sentences(found["method"]), pooling_sentence(options["pooling"])]
