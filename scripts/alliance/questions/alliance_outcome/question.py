"""Alliance and outcome: how strong, for whom, when, rated by whom (claims B1 to B6, C1 to C5, C9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.alliance_outcome import headline as outcome_headline
from alliance.questions.alliance_outcome import pooling
from alliance.questions.alliance_outcome.answer import Answer, Covariances, covariances_of, variances_of
from alliance.questions.alliance_outcome.contrasts import Rows, kind_block, main_outcome, moderator_blocks, rater_blocks, timing_blocks
from alliance.questions.alliance_outcome.levels import client_frame, level_rows, one_stage_rows, session_frame
from alliance.questions.alliance_outcome.measures import FORMS, PREFERRED, AllianceKey, OutcomeKey, SiteMeasures, effects_of, measures
from alliance.questions.alliance_outcome.missing import missing_rows
from alliance.questions.contract import TEXT, array_of, finish
from alliance.questions.correlations import published_correlations, published_fields
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.questions.unchanged import NOTHING, Unchanged

estimate_reads = (
    "alliance",
    "outcome",
    "symptoms",
    "early_gain.window",
    "pooling.min_clients",
    "pooling.level",
    "questions.alliance_outcome.windows",
    "questions.alliance_outcome.forms",
    "questions.alliance_outcome.phases",
    "questions.alliance_outcome.equal_sessions",
    "questions.alliance_outcome.moderators",
    "questions.alliance_outcome.within",
    "questions.alliance_outcome.imputation",
    "questions.alliance_outcome.headline",
)
pool_reads = (
    "pooling",
    "questions.alliance_outcome.equivalence_bound",
    "questions.alliance_outcome.nonsignificant_p",
    "questions.alliance_outcome.coding",
)
needs = ()
tables = ("site_effects", "pooled", "levels", "moderators", "raters", "timing", "eligibility", "leave_one_out", "influence", "missing")

EFFECTS, RATERS = "effects", "raters"


def part_options(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the options of every part: of whom all are compared, it does not matter whose alliance is the main one."""
    whoever = {**options, "alliance": {key: value for key, value in options["alliance"].items() if key != "rater"}}
    usual = outcome_headline.settings(options) == outcome_headline.USUAL
    compared = {EFFECTS: whoever if usual else options, RATERS: whoever}
    return compared | dict.fromkeys(("timing", "moderators", "levels", "missing"), options)


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any], unchanged: Unchanged = NOTHING) -> SiteSummary:
    """Return the correlations of every alliance measure with every outcome at one site, and what depends on them.

    Clients are the units; standard errors respect clients who share a therapist. Clients whose alliance was measured after the outcome
    are left out of that pair and counted.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``.
    constants : mapping
        Not used.
    unchanged : Unchanged
        Parts that are taken over: those whose options name no rater.
    """
    if site.published is not None:
        return _from_published(site, site.published, options)
    found = _measures(site, options, unchanged)
    answer = Answer()
    if EFFECTS in unchanged:
        answer.take(*_effects_of_base(unchanged, found, options))
    else:
        answer.add(EFFECTS, *_effect_rows(site, found, options))
    answer.add_with_variances(EFFECTS, _absent_headline(found, options))
    if RATERS in unchanged:
        answer.take(*unchanged.estimates(RATERS))
    else:
        _add_blocks(answer, RATERS, rater_blocks(found, part_options(options)[RATERS]))
    _add_blocks(answer, "timing", timing_blocks(site, found, options))
    _add_blocks(answer, "moderators", [*kind_block(found, options), *moderator_blocks(site, found, options)])
    answer.add_with_variances("levels", level_rows(*level_frames(site, found, options), options, "mixed_model"))
    answer.add_with_variances("missing", missing_rows(site, found, options))
    codes = found.therapists
    main = AllianceKey(PREFERRED, options["alliance"]["scale"], options["alliance"]["rater"], options["alliance"]["window"])
    counts = {
        "clients": len(found.clients),
        "therapists": None if codes is None else len(np.unique(codes)),
        "sessions": _rated_sessions(site),
    }
    facts = {
        "sources": found.sources,
        "not_measured": {key.name: reason for key, reason in found.reasons.items() if key.instrument == PREFERRED},
        "left_out_alliance_after_outcome": _late(found, main, main_outcome(options)),
        "moderators": _moderator_means(site, options),
        "means": _site_means(found, main, main_outcome(options), options),
        "site": _eligibility_facts(site, main, found),
    }
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="alliance_outcome",
        n=counts,
        facts=facts,
        **answer.tables(),
    )


def _measures(site: SiteData, options: Mapping[str, Any], unchanged: Unchanged) -> SiteMeasures:
    """Return the measures of a site: of the alliance those that parts which are not taken over look at."""
    if {EFFECTS, RATERS} <= unchanged.names:
        found = measures(site, options, every_alliance=False)
        if found.alliance:
            return found
    return measures(site, options)


def _rated_sessions(site: SiteData) -> int:
    """Return the number of sessions of all clients that anyone rated in any way."""
    scores = site.scores
    rated = scores["session"].notna() & scores["timepoint"].eq("session")
    return len(scores.loc[rated, ["client_no", "session"]].drop_duplicates())


def level_frames(site: SiteData, found: SiteMeasures, options: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of clients and of sessions that the models by level are fitted to."""
    return client_frame(site.site, found, options), session_frame(site, found, options)


def _add_blocks(answer: Answer, model: str, blocks: Rows) -> None:
    for rows, vcov in blocks:
        answer.add(model, rows, covariances_of(vcov))


def _effects_of_base(unchanged: Unchanged, found: SiteMeasures, options: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the effects as they were estimated for `base`, of which others are now the headline."""
    rows, vcov = unchanged.estimates(EFFECTS)
    names = ["alliance_instrument", "alliance_scale", "alliance_rater", "window", "outcome_instrument", "outcome_scale", "outcome_rater"]
    kept, headlines = [], []
    for *alliance, instrument, scale, rater, timepoint, form in zip(*(rows[name].tolist() for name in (*names, "timepoint", "form"))):
        keys = AllianceKey(*alliance), OutcomeKey(instrument, scale, rater, timepoint)
        # The headline of base, where the site lacks it, is no effect.
        kept.append(keys[0].instrument != PREFERRED or (keys[0] in found.alliance and keys[1] in found.outcomes))
        headlines.append(headline(*keys, form, options))
    return rows.assign(headline=array_of(headlines, TEXT))[np.array(kept, dtype=bool)], vcov


def _keys(alliance: AllianceKey, outcome: OutcomeKey, form: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "level": "client",
        "alliance_instrument": alliance.instrument,
        "alliance_scale": alliance.scale,
        "alliance_rater": alliance.rater,
        "window": alliance.window,
        "outcome_instrument": outcome.instrument,
        "outcome_scale": outcome.scale,
        "outcome_rater": outcome.rater,
        "timepoint": outcome.timepoint,
        "form": form,
        "same_rater": "yes" if alliance.rater == outcome.rater else "no",
        "headline": headline(alliance, outcome, form, options),
    }


def headline(alliance: AllianceKey, outcome: OutcomeKey, form: str, options: Mapping[str, Any]) -> str:
    """Return ``yes`` for the headline, ``beside`` for its other forms, ``no`` for all else."""
    main = AllianceKey(PREFERRED, options["alliance"]["scale"], options["alliance"]["rater"], options["alliance"]["window"])
    if (alliance, outcome) != (main, main_outcome(options)):
        return "no"
    return "yes" if form == options["outcome"]["form"] else "beside"


def forms(options: Mapping[str, Any]) -> list[str]:
    """Return the forms of the outcome that are analysed, the main one first."""
    main = options["outcome"]["form"]
    return [main, *(form for form in options["questions"]["alliance_outcome"]["forms"] if form != main)]


def _effect_rows(site: SiteData, found: SiteMeasures, options: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Covariances]:
    """Return the rows of all effects, and the covariances of those of the main alliance measure; of all others just the variances."""
    minimum = options["pooling"]["min_clients"]
    rows: list[dict[str, Any]] = []
    main, others = [], []
    shares: list[np.ndarray] = []
    configured = outcome_headline.settings(options) != outcome_headline.USUAL
    for outcome in found.outcomes:
        for form in forms(options):
            if not found.alliance:
                continue
            result = effects_of(found, outcome, form, minimum)
            for position, alliance in enumerate(found.alliance):
                keys = _keys(alliance, outcome, form, options)
                if configured and keys["headline"] != "no":
                    fields, spread = outcome_headline.configured_effect(site, found, alliance, outcome, form, options)
                else:
                    fields, spread = outcome_headline.complete_fields(found, outcome, form, result, position)
                rows.append({**keys, **fields})
                joint = alliance.instrument == PREFERRED and alliance.window == options["alliance"]["window"]
                joint = joint and np.isfinite(spread) and not (configured and keys["headline"] != "no")
                (main if joint else others).append((len(rows) - 1, spread))
                if joint:
                    shares.append(_shares(result, position, spread))
    first = second = np.array([position for position, _ in others], dtype=int)
    cov = np.array([spread for _, spread in others])
    if main:
        places, own = np.array([position for position, _ in main]), np.array([spread for _, spread in main])
        stacked = np.stack(shares, axis=1)
        together = stacked.T @ stacked
        together[np.diag_indices(len(main))] = own
        one, other = np.triu_indices(len(main))
        first, second = np.concatenate([first, places[one]]), np.concatenate([second, places[other]])
        cov = np.concatenate([cov, together[one, other]])
    return rows, Covariances.known(first, second, cov)


def _absent_headline(found: SiteMeasures, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the headline of a site that lacks its alliance or its outcome, with the reason; none where it has both."""
    main = AllianceKey(PREFERRED, options["alliance"]["scale"], options["alliance"]["rater"], options["alliance"]["window"])
    outcome = main_outcome(options)
    if main in found.alliance and outcome in found.outcomes:
        return []
    reason = "; ".join(found.reasons[key] for key in (main, outcome) if key in found.reasons)
    absent = {"status": "not_estimable", "reason": f"not estimable: {reason}", "method": "none", "n_clients": 0}
    return [{**_keys(main, outcome, form, options), **absent, "estimate_type": FORMS[form]} for form in forms(options)]


def _shares(result: Any, position: int, spread: float) -> np.ndarray:
    """Return each client's or therapist's share in the error of one r, scaled to its variance."""
    own = result.clusters[:, position] if np.isfinite(result.df[position]) else result.rows[:, position]
    size = float(np.sqrt((own**2).sum()))
    shares = np.zeros(len(result.clusters) + len(result.rows))
    start = 0 if np.isfinite(result.df[position]) else len(result.clusters)
    shares[start : start + len(own)] = own / size * np.sqrt(spread) if size > 0 else 0.0
    return shares


def _late(found: SiteMeasures, alliance: AllianceKey, outcome: OutcomeKey) -> int:
    if alliance not in found.alliance or outcome not in found.outcomes:
        return 0
    return int(found.late[outcome][:, list(found.alliance).index(alliance)].sum())


def _site_means(found: SiteMeasures, alliance: AllianceKey, outcome: OutcomeKey, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the site's mean alliance and mean gain, with what measured them, for the comparison of sites; empty for too few clients."""
    if alliance not in found.alliance or outcome not in found.outcomes:
        return {}
    values = found.outcomes[outcome]
    data = np.column_stack([found.of(alliance, outcome), values.intake, values.post])
    data = data[np.isfinite(data).all(axis=1)]
    gain = data[:, 2] - data[:, 1]
    if len(data) < options["pooling"]["min_clients"] or data.std(axis=0).min() <= 0:
        return {}
    spread = data[:, 1].std(ddof=1)
    return {
        "measures": f"{found.sources.get(alliance.name, '')} and {found.sources.get(outcome.name, '')}",
        "n": len(data),
        "alliance": float(data[:, 0].mean()),
        "alliance_sd": float(data[:, 0].std(ddof=1)),
        "gain": float(gain.mean() / spread),
        "gain_variance": float(gain.var(ddof=1) / len(data) / spread**2),
    }


def _moderator_means(site: SiteData, options: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return what the site is like in each moderator: shares of groups, or the mean (of logs).

    Shares that would tell how many clients a small group has are not sent.
    """
    means: dict[str, dict[str, float]] = {}
    for name, content in options["questions"]["alliance_outcome"]["moderators"].items():
        if content["variable"] not in site.clients:
            continue
        values = site.clients.drop_duplicates("client_no")[content["variable"]].dropna()
        if content["kind"] == "category":
            counts = values.astype("str").value_counts().sort_index()
            if len(counts) and counts.min() >= options["pooling"]["min_clients"]:
                means[name] = {str(group): float(count) / len(values) for group, count in counts.items()}
        else:
            numbers = pd.to_numeric(values, errors="coerce").dropna()
            numbers = np.log(numbers[numbers > 0]) if content["kind"] == "log" else numbers
            if len(numbers):
                means[name] = {"mean": float(numbers.mean())}
    return means


def _eligibility_facts(site: SiteData, main: AllianceKey, found: SiteMeasures) -> dict[str, Any]:
    source = found.sources.get(main.name, "")
    known = site.instruments.get(source.split(".")[0]) if source else None
    return {
        "design": str(site.facts.get("design") or ""),
        "treatment_format": str(site.facts.get("treatment_format") or ""),
        "labelled_alliance": None if not source else known is not None and known.construct == "alliance",
        "dated": bool(found.outcomes) and bool(found.alliance),
    }


def _from_published(site: SiteData, published: Published, options: Mapping[str, Any]) -> SiteSummary:
    """Return what a published matrix or list of effects says: alliance, outcome and intake as the study names them."""
    alliance = AllianceKey(PREFERRED, options["alliance"]["scale"], options["alliance"]["rater"], options["alliance"]["window"])
    outcome = main_outcome(options)
    rows, spread = [], []
    for form in forms(options):
        # What a site publishes are the study's variables: rated by whom the configuration says.
        fields, variance = published_effect(published, form, options)
        rows.append({**_keys(alliance, outcome, form, options), **fields})
        spread.append(variance)
    answer = Answer()
    answer.add(EFFECTS, rows, variances_of(spread))
    largest = max((row["n_clients"] for row in rows if row.get("n_clients") is not None), default=0)
    facts = {
        "site": {
            "design": str(site.facts.get("design") or ""),
            "treatment_format": str(site.facts.get("treatment_format") or ""),
            "labelled_alliance": None,
            "dated": False,
        },
        "moderators": {},
    }
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="alliance_outcome",
        n={"clients": largest},
        facts=facts,
        **answer.tables(),
    )


def published_effect(published: Published, form: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Return the columns of ``estimates.csv`` and the variance of the headline in one form as a site published it."""
    minimum = options["pooling"]["min_clients"]
    own = published.effects
    direct = own[own["question"].eq("alliance_outcome") & own["parameter"].eq(form)]
    held = outcome_headline.settings(options)["covariates"]
    if held and form != "zero_order":
        r, n, std_error, reason = np.nan, None, None, f"the site published no correlation with {', '.join(held)}"
    elif len(direct):
        last = direct.iloc[-1]
        r, n, std_error, reason = last["estimate"], last["n"], last["std_error"], ""
    else:
        matrix = {frozenset((row.var1, row.var2)): (row.r, row.n) for row in published_correlations(published).itertuples(index=False)}
        (r, n, reason), std_error = _published_form(matrix, form), None
    if reason:
        absent = {"method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"}
        return {**absent, "estimate_type": FORMS[form]}, np.nan
    fields, variance = published_fields(r, n, std_error, minimum, held=form == "ancova")
    return {**fields, "estimate_type": FORMS[form]}, variance


def _published_form(matrix: Mapping[frozenset[str], tuple[float, Any]], form: str) -> tuple[float, Any, str]:
    """Return r, number of clients and why there is none, of one form from published correlations."""
    names = {"zero_order": ("alliance outcome",), "ancova": ("alliance outcome", "alliance intake", "intake outcome")}
    wanted = names.get(form, names["ancova"])
    pairs = [frozenset(name.split()) for name in wanted]
    missing = [name.replace(" ", " with ") for name, pair in zip(wanted, pairs) if pair not in matrix]
    if form == "change":
        return np.nan, None, "a published matrix of correlations does not hold the spreads that a change score needs"
    if missing:
        return np.nan, None, f"the site published no correlation of {' and of '.join(missing)}"
    found = [matrix[pair] for pair in pairs]
    n = min((one[1] for one in found if not pd.isna(one[1])), default=None)
    if form == "zero_order":
        return found[0][0], n, ""
    (ay, _), (ax, _), (xy, _) = found
    left = np.sqrt(1 - xy**2) * (np.sqrt(1 - ax**2) if form == "ancova" else 1.0)
    return float((ay - ax * xy) / left) if left > 0 else np.nan, n, ""


def one_stage(sites: Iterable[SiteData], every_site: Sequence[str], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the estimates of models over the rows of all sites that share them: the headline, and the levels.

    Scores are standardised within sites, and for the headline freed of the intake level there, so that its slope is a mean of the sites'
    partial correlations.

    Parameters
    ----------
    sites : iterable of SiteData
        The sites that share rows.
    every_site : sequence of str
        All sites; those that share none are named in the rows.
    options : mapping
        The keys of ``estimate_reads``.
    """
    clients, sessions = [], []
    for site in sites:
        found = measures(site, options, every=False)
        frames = level_frames(site, found, options)
        clients.append(frames[0])
        sessions.append(frames[1])
    return one_stage_rows(clients, sessions, every_site, options)


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables of the question; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``estimate_reads`` and ``pool_reads``.
    tables : mapping
        ``one_stage``: the estimates of the models over the rows of all sites that share them.
    """
    summaries = sorted(summaries, key=lambda one: one.site)
    gathered = effects.gather(summaries)
    found = pooling.tables_of(gathered, summaries, options, tables)
    return {name: finish(found[name], "alliance_outcome", name) for name in found}


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    return pooling.methods(options, tables)
