"""Whose rating predicts whose outcome: actor and partner effects, within and between clients (claim K5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.alliance_outcome.levels import session_scores
from alliance.questions.alliance_outcome.measures import PREFERRED, outcome_instruments, outcome_scale
from alliance.questions.congruence.dyads import QUESTION, Dyads, SessionScores, dyads, named, not_estimable, notes, raters
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.part import VCOV, Part, stacked
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.distributions import critical_value
from alliance.statistics.dyads import actor_partner, ratio
from alliance.statistics.jackknife import Jackknifed
from alliance.variables.client import measure

NAME = "actor_partner"
KEYS = [
    "instrument",
    "instrument_scale",
    "raters",
    "explained",
    "explained_rater",
    "part",
    "effect",
    "predictor_rater",
    "same_rater",
    "estimate_type",
]
ALLIANCE, SYMPTOMS, OUTCOME = "alliance, next session", "symptoms, next session", "outcome given intake"
WITHIN, BETWEEN = "within_client", "between_client"
ACTOR, PARTNER, DIFFERENCE, RATIO = "actor", "partner", "actor - partner", "partner / actor"
SYMPTOM_LAG = 2
LEAST_WAVES = 3
CLIENTS_PER_PARAMETER = 2
MULTIVARIATE = "multivariate_reml"


def estimate(site: SiteData, table: SessionScores, options: Mapping[str, Any]) -> Part:
    """Return one site's actor and partner effects on the next session's alliance and symptoms, and on the outcome."""
    part = Part()
    section = options["questions"][QUESTION]
    scale = section["scales"][0]
    sessions = dyads(site, table, options, scale, section["session_window"])
    early = dyads(site, table, options, scale, section["windows"][0])
    covariances: list[dict[str, Any]] = []
    _add_alliance(part, covariances, sessions, options)
    _add_symptoms(part, covariances, site, sessions, options)
    _add_outcomes(part, covariances, site, early, options)
    part.covariances = pd.DataFrame(covariances, columns=VCOV) if covariances else stacked([], VCOV)
    return part


def _row(options: Mapping[str, Any], explained: str, whose: str, where: str, effect: str, **fields: Any) -> dict[str, Any]:
    """Return a row of one effect on what ``whose`` rated."""
    other = next(name for name in raters(options) if name != whose)
    kinds = {DIFFERENCE: "slope_contrast", RATIO: "partner_actor_ratio"}
    predictor = {ACTOR: whose, PARTNER: other}.get(effect, "")
    row = {
        "instrument": PREFERRED,
        "instrument_scale": options["questions"][QUESTION]["scales"][0],
        "raters": ", ".join(raters(options)),
        "explained": explained,
        "explained_rater": whose,
        "part": where,
        "effect": effect,
        "predictor_rater": predictor,
        "same_rater": {ACTOR: "yes", PARTNER: "no"}.get(effect, "mixed"),
        "estimate_type": kinds.get(effect, "slope_standardised"),
        "level": "session" if where == WITHIN else "client",
        **fields,
    }
    return named(row, KEYS)


def _absent(part: Part, options: Mapping[str, Any], explained: str, whose: str, where: str, reason: str, counts: Mapping[str, Any]) -> None:
    for effect in (ACTOR, PARTNER, DIFFERENCE, RATIO):
        part.add(not_estimable(_row(options, explained, whose, where, effect), reason, counts))


def _add(
    part: Part,
    covariances: list[dict[str, Any]],
    rows: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, float],
    vcov: np.ndarray,
    df: float,
    level: float,
    fields: Mapping[str, Any],
) -> None:
    """Add actor, partner, their difference and ratio; ``vcov`` is that of actor and partner."""
    (va, c), (_, vp) = vcov
    spread = {ACTOR: va, PARTNER: vp, DIFFERENCE: max(va + vp - 2 * c, 0.0)}
    for effect in (ACTOR, PARTNER, DIFFERENCE):
        part.add({**rows[effect], **fields, "estimate": float(values[effect])}, float(spread[effect]))
    found = ratio(values[PARTNER], values[ACTOR], [[vp, c], [c, va]], df, level)
    if found.reason:
        counts = {key: fields[key] for key in ("n_sessions", "n_clients", "n_therapists") if key in fields}
        part.add(not_estimable(rows[RATIO], found.reason, counts))
    else:
        limits = {"estimate": found.estimate, "ci_low": found.ci_low, "ci_high": found.ci_high}
        part.add({**rows[RATIO], **fields, **limits}, found.std_error**2)
    first, second = rows[ACTOR]["parameter"], rows[PARTNER]["parameter"]
    covariances.append({"model": NAME, "parameter1": first, "parameter2": second, "cov": float(c)})


def _add_jackknifed(
    part: Part,
    covariances: list[dict[str, Any]],
    options: Mapping[str, Any],
    explained: str,
    whose: str,
    where: str,
    made: Jackknifed,
    counts: Mapping[str, Any],
    *told: str,
) -> None:
    if made.reason:
        _absent(part, options, explained, whose, where, made.reason, counts)
        return
    rows = {effect: _row(options, explained, whose, where, effect) for effect in (ACTOR, PARTNER, DIFFERENCE, RATIO)}
    values = dict(zip((ACTOR, PARTNER, DIFFERENCE), map(float, made.estimate), strict=True))
    fields = {**counts, "method": made.method, **notes(*told, made.caution)}
    _add(part, covariances, rows, values, made.vcov[:2, :2], made.df, options["pooling"]["level"], fields)


def _why_not(found: Dyads, options: Mapping[str, Any]) -> str:
    minimum = options["pooling"]["min_clients"]
    if found.reason:
        return found.reason
    if found.counts["n_clients"] < minimum:
        return f"needs at least {minimum} clients with sessions that both rated; has {found.counts['n_clients']}"
    return "" if found.spread > 0 else "needs ratings that vary"


def wave_frame(found: Dyads, largest_gap: int, waves: int) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Return ratings by place among the client's jointly rated sessions, and the therapist of every row.

    Parameters
    ----------
    found : Dyads
    largest_gap : int
        Session numbers from one rating to the next; what comes after a longer gap is left out.
    waves : int
        At most so many places.

    Returns
    -------
    DataFrame
        One row a client; columns ``first1, second1, first2, ...`` in SD of both raters, about the first rater's mean.
    """
    rows = found.rows.sort_values(["client", "session"], kind="stable").reset_index(drop=True)
    gap = rows.groupby("client")["session"].diff().fillna(0) > largest_gap
    rows = rows[gap.groupby(rows["client"]).cumsum().eq(0)]
    place = rows.groupby("client").cumcount() + 1
    rows = rows.assign(place=place)[place <= waves]
    centre = rows["first"].mean()
    columns = {}
    for number in range(1, waves + 1):
        own = rows[rows["place"].eq(number)].set_index("client")
        for name in ("first", "second"):
            columns[f"{name}{number}"] = (own[name] - centre) / found.spread
    frame = pd.DataFrame(columns).sort_index()
    if "therapist" not in rows:
        return frame, None
    return frame, rows.groupby("client")["therapist"].first().reindex(frame.index).to_numpy()


def _add_alliance(part: Part, covariances: list[dict[str, Any]], found: Dyads, options: Mapping[str, Any]) -> None:
    from alliance.statistics.lagged_dyads import lagged_model
    from alliance.statistics.structural_fit import fit_structural, parse_structural

    section, minimum = options["questions"][QUESTION], options["pooling"]["min_clients"]
    reason = _why_not(found, options)
    counts = found.counts if not found.reason else {"n_clients": 0}
    fitted = None
    if not reason:
        frame, therapists = wave_frame(found, section["largest_gap"], section["waves"])
        present = frame.notna().sum()
        for waves in range(section["waves"], LEAST_WAVES - 1, -1):
            if present.get(f"first{waves}", 0) >= minimum and len(frame) >= CLIENTS_PER_PARAMETER * (2 * waves + 13):
                break
        else:
            needed = CLIENTS_PER_PARAMETER * (2 * LEAST_WAVES + 13)
            reason = (
                f"needs at least {needed} clients, {minimum} of them with {LEAST_WAVES} sessions that both rated, no more than "
                f"{section['largest_gap']} apart; has {len(frame)} and {int(present.get(f'first{LEAST_WAVES}', 0))}"
            )
    if not reason:
        columns = [f"{name}{wave}" for name in ("first", "second") for wave in range(1, waves + 1)]
        used = frame[columns]
        clusters = therapists if therapists is not None and len(np.unique(therapists)) >= 5 else None
        settings = {"clusters": [clusters]} if clusters is not None else {}
        model = parse_structural(lagged_model(waves))
        level = options["pooling"]["level"]
        fitted = fit_structural(model, rows=used, missing="ml", errors="robust", level=level, **settings)
        reason = fitted.reason if fitted.fit is None else ""
        counts = {
            "n_sessions": int(used["first1"].size and used.notna().to_numpy().sum() // 2),
            "n_clients": len(used),
            "n_therapists": None if therapists is None else len(np.unique(therapists)),
        }
    for whose, one, other in zip(raters(options), ("first", "second"), ("second", "first"), strict=True):
        if reason:
            _absent(part, options, ALLIANCE, whose, WITHIN, reason, counts)
            continue
        table = fitted.parameters[fitted.parameters["op"].isin(("~", ":="))].drop_duplicates("label").set_index("label")
        names = {ACTOR: f"{one}_by_{one}", PARTNER: f"{one}_by_{other}", DIFFERENCE: f"{one}_contrast"}
        values = {effect: float(table.loc[name, "estimate"]) for effect, name in names.items()}
        va, vp, vd = (float(table.loc[name, "std_error"]) ** 2 for name in names.values())
        if not np.isfinite([va, vp, vd]).all():
            _absent(part, options, ALLIANCE, whose, WITHIN, "no standard errors at the maximum", counts)
            continue
        c = (va + vp - vd) / 2
        few = f"few clients: {len(used) / fitted.n_parameters:.1f} for each free parameter" if len(used) < 5 * fitted.n_parameters else ""
        words = _in_words(fitted.reason, options)
        told = notes(found.note, few, words, "" if clusters is not None else "clients taken as independent: few or unknown therapists")
        method = "maximum_likelihood_robust" if clusters is not None else "maximum_likelihood"
        df = counts["n_therapists"] - 1 if clusters is not None else np.inf
        rows = {effect: _row(options, ALLIANCE, whose, WITHIN, effect) for effect in (ACTOR, PARTNER, DIFFERENCE, RATIO)}
        margin = float(critical_value(level, df))
        for effect, variance in ((ACTOR, va), (PARTNER, vp), (DIFFERENCE, vd)):
            reach = margin * np.sqrt(variance)
            rows[effect] |= {"ci_low": values[effect] - reach, "ci_high": values[effect] + reach}
        _add(part, covariances, rows, values, np.array([[va, c], [c, vp]]), df, level, {**counts, "method": method, **told})


def _in_words(reason: str, options: Mapping[str, Any]) -> str:
    first, second = raters(options)
    for name, whose in (("first", first), ("second", second)):
        reason = reason.replace(f"stable_{name}", f"what is stable of the {whose}'s ratings").replace(
            f"w_{name}", f"{whose}'s rating, wave "
        )
    return reason


def symptom_rows(site: SiteData, found: Dyads, options: Mapping[str, Any]) -> tuple[pd.DataFrame, str]:
    """Return sessions of both raters with the symptoms of the next session (in SD, higher is better), and why there are none.

    The next session is the next with symptoms, at most two session numbers later.
    """
    scores, one = session_scores(site, {"construct": "symptoms"}, options)
    if one.reason:
        return pd.DataFrame(), f"needs symptoms session by session: {one.reason}"
    later = scores.rename(columns={"session": "next", "value": "symptoms"}).sort_values("next")
    rows = pd.merge_asof(
        found.rows.assign(key=found.rows["session"].astype("int64"), client=found.rows["client"].astype("int64")).sort_values("key"),
        later.assign(key=later["next"]),
        on="key",
        by="client",
        direction="forward",
        allow_exact_matches=False,
        tolerance=SYMPTOM_LAG,
    )
    rows = rows[rows["symptoms"].notna()].sort_values(["client", "session"], kind="stable").reset_index(drop=True)
    spread = rows["symptoms"].std() if len(rows) > 1 else 0.0
    if not spread > 0:
        return pd.DataFrame(), "needs symptoms that vary in the sessions after those that both rated"
    return rows.assign(symptoms=(rows["symptoms"] - rows["symptoms"].mean()) / spread), ""


def _add_symptoms(part: Part, covariances: list[dict[str, Any]], site: SiteData, found: Dyads, options: Mapping[str, Any]) -> None:
    whose, minimum = options["symptoms"]["rater"], options["pooling"]["min_clients"]
    if whose not in raters(options):
        return
    reason = _why_not(found, options)
    rows = pd.DataFrame()
    if not reason:
        rows, reason = symptom_rows(site, found, options)
    own, other = ("first", "second") if whose == raters(options)[0] else ("second", "first")
    for where in (WITHIN, BETWEEN):
        used = rows
        if where == WITHIN and len(rows):
            used = rows[rows.groupby("client")["client"].transform("size") > 1]
        n = used["client"].nunique() if len(used) else 0
        counts = {
            "n_sessions": len(used),
            "n_clients": n,
            "n_therapists": used["therapist"].nunique() if "therapist" in used and n else None,
        }
        told = reason
        if not told and n < minimum:
            repeated = "two sessions" if where == WITHIN else "a session"
            told = f"needs at least {minimum} clients with {repeated} that both rated and symptoms in the next; has {n}"
        if told:
            _absent(part, options, SYMPTOMS, whose, where, told, counts)
            continue
        therapist = used["therapist"].to_numpy() if "therapist" in used else None
        ratings = (used[name] / found.spread for name in (own, other))
        made = actor_partner(*ratings, used["symptoms"], used["client"], used["session"], therapist, within=where == WITHIN)
        _add_jackknifed(part, covariances, options, SYMPTOMS, whose, where, made, counts, found.note)


def outcomes(site: SiteData, options: Mapping[str, Any], who: Sequence[str]) -> Iterator[tuple[str, pd.Series, pd.Series, pd.Series, str]]:
    """Yield rater, outcome, intake level (both in SD, higher is better), date of the outcome, and why there is none, for every rater."""
    section = {**options, "outcome": {**options["outcome"], "form": "ancova"}}
    nothing = pd.Series(dtype="float64")
    for whose in who:
        told = f"needs an outcome rated by the {whose}"
        for instrument in outcome_instruments(options):
            definition = {"instrument": instrument, "scale": outcome_scale(instrument, options), "rater": whose}
            found = measure(site, {**definition, "construct": "outcome"}, section)
            if found.reason:
                continue
            intake = measure(site, {**definition, "construct": "intake"}, section)
            if intake.reason:
                told = f"needs the intake level of the outcome rated by the {whose}: {intake.reason}"
                continue
            both = pd.DataFrame({"post": found.values, "intake": intake.values}).dropna()
            spread = both.std() if len(both) > 1 else pd.Series({"post": 0.0, "intake": 0.0})
            if not (spread > 0).all():
                told = f"needs {instrument} scores that vary"
                continue
            scored = (both - both.mean()) / spread
            yield whose, scored["post"], scored["intake"], found.times["first_date"], ""
            break
        else:
            yield whose, nothing, nothing, nothing, told


def before_outcome(last: pd.Series, dates: pd.Series) -> np.ndarray:
    """Return which clients' last rating is not known to come after their outcome."""
    outcome = pd.to_datetime(dates.reindex(last.index)) if len(dates) else pd.Series(pd.NaT, index=last.index)
    return ~(pd.to_datetime(last) > outcome).to_numpy(dtype=bool)


def _add_outcomes(part: Part, covariances: list[dict[str, Any]], site: SiteData, found: Dyads, options: Mapping[str, Any]) -> None:
    minimum = options["pooling"]["min_clients"]
    reason = _why_not(found, options)
    clients = pd.DataFrame() if reason else found.clients()
    for whose, post, intake, dates, told in outcomes(site, options, raters(options)):
        counts: dict[str, Any] = {"n_clients": 0}
        told = reason or told
        if not told:
            frame = clients.assign(post=post.reindex(clients.index), intake=intake.reindex(clients.index))
            frame = frame[frame[["post", "intake"]].notna().all(axis=1).to_numpy() & before_outcome(clients["date"], dates)]
            n = len(frame)
            counts = {"n_sessions": int(frame["sessions"].sum()), "n_clients": n}
            counts |= {"n_therapists": int(frame["therapist"].nunique()) if "therapist" in frame and n else None}
            told = f"needs at least {minimum} clients with both ratings, intake level and outcome; has {n}" if n < minimum else ""
        if told:
            _absent(part, options, OUTCOME, whose, BETWEEN, told, counts)
            continue
        own, other = ("first", "second") if whose == raters(options)[0] else ("second", "first")
        therapist = frame["therapist"].to_numpy() if "therapist" in frame else None
        ratings = (frame[name] / found.spread for name in (own, other))
        made = actor_partner(*ratings, frame["post"], frame.index, frame["intake"], therapist, within=False)
        _add_jackknifed(part, covariances, options, OUTCOME, whose, BETWEEN, made, counts, found.note)


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table: rows of the sites, pooled effects, and ratios of the effects pooled together."""
    pooling = options["pooling"]
    own = effects.scaled(gathered, "identity")
    slopes = own[own["estimate_type"].ne("partner_actor_ratio")]
    pooled = effects.pooled_rows(slopes, KEYS, "identity", pooling)
    ratios = _pooled_ratios(own, summaries, options)
    absent = effects.absent_site_rows(summaries, headline_keys(options), "identity")
    return effects.stack(effects.site_rows(own, "identity", pooling["level"]), pooled, ratios, absent)


def settings(pooling: Mapping[str, Any]) -> dict[str, Any]:
    """Return how vectors of coefficients are pooled."""
    return {"likelihood": "fixed" if pooling["tau2"] == "fixed" else "reml", "interval": pooling["interval"], "level": pooling["level"]}


def covariance_of(summaries: Sequence[SiteSummary], model: str) -> dict[tuple[str, str, str], float]:
    """Return the covariances that the sites sent of a part, by site and both parameters."""
    found: dict[tuple[str, str, str], float] = {}
    for one in summaries:
        rows = one.vcov[one.vcov["model"].eq(model)] if one.status == "ok" else one.vcov.iloc[:0]
        for first, second, value in rows[["parameter1", "parameter2", "cov"]].itertuples(index=False):
            found[one.site, first, second] = found[one.site, second, first] = value
    return found


def _pooled_ratios(own: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    from alliance.statistics.multivariate_meta import pool_coefficients

    pooling = options["pooling"]
    sent = covariance_of(summaries, NAME)
    groups = ["explained", "explained_rater", "part"]
    rows = []
    usable = own[own["status"].isin(WITH_NUMBERS) & own["v"].notna() & own["effect"].isin((ACTOR, PARTNER))]
    for key, _ in own.groupby(groups, sort=True):
        mine = usable[(usable[groups] == list(key)).all(axis=1)]
        row = {**_row(options, key[0], key[1], key[2], RATIO), "site": POOLED, "scale": "identity"}
        tables = {effect: mine[mine["effect"].eq(effect)].set_index("site") for effect in (ACTOR, PARTNER)}
        sites = sorted(set(tables[ACTOR].index) & set(tables[PARTNER].index))
        counts = {
            f"n_{name}": tables[ACTOR].loc[sites, f"n_{name}"].sum(min_count=len(sites)) if sites else None
            for name in ("sessions", "clients", "therapists")
        }
        row |= {**counts, "n_sites": len(sites)}
        if len(sites) < pooling["min_sites"]:
            rows.append(not_estimable(row, effects.too_few_sites(len(sites), pooling).removeprefix("not estimable: ")))
            continue
        y = np.array([[tables[effect].loc[site, "y"] for effect in (ACTOR, PARTNER)] for site in sites], dtype=float)
        v = np.zeros((len(sites), 2, 2))
        for place, site in enumerate(sites):
            names = [tables[effect].loc[site, "parameter"] for effect in (ACTOR, PARTNER)]
            v[place] = np.diag([tables[effect].loc[site, "v"] for effect in (ACTOR, PARTNER)])
            v[place, 0, 1] = v[place, 1, 0] = sent.get((site, *names), 0.0)
        made = pool_coefficients(y, v, [ACTOR, PARTNER], **settings(pooling))
        actor, partner = made.coefficients["estimate"]
        turned = made.vcov[::-1, ::-1]
        df = float(made.coefficients["df"].min()) if pooling["interval"] != "z" else np.inf
        found = ratio(partner, actor, turned, df, pooling["level"])
        if made.status == "not_estimable" or found.reason:
            rows.append(not_estimable(row, found.reason if made.status != "not_estimable" else made.reason.removeprefix("not estimable: ")))
            continue
        flagged = effects.flagged_sites(int(tables[ACTOR].loc[sites, "status"].eq("flagged").sum()), len(sites))
        limits = {"estimate": found.estimate, "std_error": found.std_error, "ci_low": found.ci_low, "ci_high": found.ci_high}
        rows.append({**row, **limits, "method": MULTIVARIATE, **notes(made.reason, flagged)})
    return pd.DataFrame(rows)


def headline_keys(options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the keys of the rows that stand for a site without an answer."""
    rows = [_row(options, ALLIANCE, whose, WITHIN, effect) for whose in raters(options) for effect in (ACTOR, PARTNER)]
    return pd.DataFrame([{key: row.get(key, "") for key in KEYS} for row in rows])


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    usable = table[table["status"].isin(WITH_NUMBERS)]
    if usable.empty:
        return []
    first, second = raters(options)
    sentences = [
        Sentence(
            f"Actor effects are those of a person's own rating of the alliance, partner effects those of the other's ({first} and "
            f"{second} as "
            "distinguishable dyads), in one unit for both, so that they may be compared; k is partner over actor, with Fieller's "
            "interval, given "
            "only where the actor effect differs from zero.",
            ("kenny_kashy_cook_2006", "kenny_ledermann_2010"),
        )
    ]
    if usable["explained"].eq(ALLIANCE).any():
        sentences.append(
            Sentence(
                "Effects on the next alliance rating come from a panel model with random intercepts over the jointly rated sessions "
                "(lagged "
                "effects and residuals equal over time, full information maximum likelihood): subtracting clients' means would bias lagged "
                "effects with few sessions.",
                ("hamaker_2015",),
            )
        )
    if usable["explained"].isin((SYMPTOMS, OUTCOME)).any():
        sentences.append(
            Sentence(
                "Effects on the symptoms of the next session hold the number of the session constant; within clients all variables are "
                "measured "
                "from the client's means, between clients those means are compared. Effects on the outcome hold the intake level constant. "
                "Symptoms and outcomes are turned so that higher is better."
            )
        )
    if usable["site"].eq(POOLED).any():
        sentences.append(pooling_sentence(options["pooling"], "Actor and partner effects were pooled"))
    return sentences
