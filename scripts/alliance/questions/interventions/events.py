"""Events in a session and the alliance of the next, both ways, within and between clients (claims H1 to H6, G3, G6, J5, J6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.client_factors.pooling import degrees_of_freedom
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.interventions import complementarity as circle
from alliance.questions.interventions.sessions import KEYS as OF_SESSION
from alliance.questions.interventions.sessions import QUESTION, CodedSessions, counts, enough, rupture_windows, within_sd
from alliance.questions.part import Part
from alliance.questions.ruptures.sample import settings
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.summary import SiteSummary
from alliance.statistics.jackknife import Jackknifed

NAME = "events"
FREQUENCY, ACCURACY, IN_RUPTURES, MODERATION, INITIALLY_POOR = "frequency", "accuracy", "in_ruptures", "moderation", "initially_poor"
COMPLEMENTARITY = "complementarity"
ALLIANCE, SYMPTOMS, EVENT = "alliance", "symptoms", "event"
WITHIN, BETWEEN, CONTEXT, ACROSS = "within_clients", "between_clients", "between - within", "across_levels"
ALL, PRIOR = "all_sessions", "earlier_sessions"
SLOPE, CONTRAST, INTERACTION = "slope_standardised", "slope_contrast", "interaction_standardised"
IDENTITY = ["topic", "event", "explained", "term", "part", "compared_with", "moderator", "window", "treatment", "alliance_rater"]
POOL_KEYS = [*IDENTITY, "estimate_type"]
_CENTRING = {ALL: "all", PRIOR: "prior"}
_WHEN = {"same_session": "of the session after which it was rated", "session_before": "of the session before"}
FEWEST = {ALL: 2, PRIOR: 3}
FEEDBACK = "a client's mean over all sessions holds alliance that earlier events changed, which biases this slope; see earlier_sessions"
# Rows of the effects of attention by the true initial level: term, kind of number.
_POOR = {
    "slope_low": ("attention, initial level - 1 SD", SLOPE),
    "slope_high": ("attention, initial level + 1 SD", SLOPE),
    "interaction": ("attention x initial level", INTERACTION),
    "interaction_uncorrected": ("attention x initial level, as observed", INTERACTION),
    "gain_low": ("gain of the lowest third", "mean_difference"),
    "gain_low_from_noise": ("gain of the lowest third that noise alone brings", "mean_difference"),
    "gain_low_beyond_noise": ("gain of the lowest third beyond noise", "mean_difference"),
    "reliability": ("reliability of the initial level", "reliability"),
}
_MODERATED = (
    (2, "event x moderator", WITHIN, INTERACTION),
    (3, "event x moderator", ACROSS, INTERACTION),
    (4, "event, moderator - 1 SD", WITHIN, SLOPE),
    (5, "event, moderator + 1 SD", WITHIN, SLOPE),
)


def estimate(coded: CodedSessions) -> Part:
    """Return one site's estimates of table ``events``."""
    part = Part()
    section = coded.section
    for rater in section["raters"]:
        for name in sorted(section["events"]):
            _add_frequency(part, coded, name, rater)
        _add_accuracy(part, coded, rater)
        _add_ruptures(part, coded, rater)
        for name in sorted(section["moderations"]):
            _add_moderation(part, coded, name, rater)
        _add_complementarity(part, coded, rater)
        _add_poor(part, coded, rater)
    return part


def _row(topic: str, rater: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {**dict.fromkeys(IDENTITY, ""), "topic": topic, "alliance_rater": rater, "estimate_type": kind, "explained": ALLIANCE, **fields}


def _add(part: Part, row: Mapping[str, Any], variance: float = float("nan")) -> None:
    parameter = "; ".join(str(row[key]) for key in POOL_KEYS if row[key])
    part.add({"level": "within", **row, "parameter": parameter}, variance)


def add_missing(part: Part, rows: Sequence[Mapping[str, Any]], reason: str) -> None:
    """Add rows without a number, with the reason."""
    for row in rows:
        fields = {"method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"}
        _add(part, {**row, **fields})


def add_found(
    part: Part, coded: CodedSessions, rows: Sequence[Mapping[str, Any]], found: Jackknifed, fields: Mapping[str, Any], places: Sequence[int]
) -> None:
    """Add rows of jackknifed estimates at given places, or the reason why there are none."""
    if found.reason:
        add_missing(part, [{**row, **fields} for row in rows], found.reason)
        return
    low, high = found.interval(coded.level)
    for row, place in zip(rows, places, strict=True):
        known = {
            "estimate": float(found.estimate[place]),
            "ci_low": float(low[place]),
            "ci_high": float(high[place]),
            "method": found.method,
            "status": "flagged" if found.caution else "estimated",
            "reason": found.caution,
            "share_missing": _missing(coded, fields.get("n_clients")),
        }
        _add(part, {**row, **fields, **known}, float(found.vcov[place, place]))


def _missing(coded: CodedSessions, n: int | None) -> float | None:
    everybody = len(coded.site.clients)
    return 1 - n / everybody if n is not None and everybody >= n > 0 else None


def _add_frequency(part: Part, coded: CodedSessions, name: str, rater: str) -> None:
    """Add the event and the next alliance, and the alliance and the next event, within clients and between them, by phase and treatment."""
    section, minimum = coded.section, coded.min_clients
    frame, reason = coded.lagged(name, rater)
    base = {"event": name, "same_rater": coded.same_rater(name, rater), "window": section["window"]}
    if not reason:
        frame = coded.inside(frame, section["window"])
    for explained, cause, held, outcome in (
        (ALLIANCE, "event", "alliance", "next_alliance"),
        (EVENT, "alliance", "event", "next_event"),
    ):
        for compared in (ALL, PRIOR):
            row = _row(FREQUENCY, rater, SLOPE, explained=explained, term=cause, part=WITHIN, compared_with=compared, **base)
            _add_slope(part, coded, row, frame, reason, (cause, held, outcome), compared)
    rows = [
        _row(FREQUENCY, rater, SLOPE, term=EVENT, part=BETWEEN, **base),
        _row(FREQUENCY, rater, CONTRAST, term=EVENT, part=CONTEXT, **base),
    ]
    usable = frame.dropna(subset=["next_alliance"]) if not reason else frame
    told = reason or enough(usable, 1, minimum, "sessions with the event coded and the next alliance")
    if told:
        add_missing(part, rows, told)
    else:
        from alliance.statistics.session_effects import between_slopes

        found = between_slopes(
            usable["event"].to_numpy(dtype=float),
            usable["next_alliance"].to_numpy(dtype=float),
            usable["client"].to_numpy(),
            coded.therapist_of(usable["client"]),
            held=usable[["alliance", "session"]].to_numpy(dtype=float),
            min_clients=minimum,
        )
        add_found(part, coded, rows, found, counts(usable, coded.therapists), (0, 1))
    series = ("event", "alliance", "next_alliance")
    for phase in section["phases"]:
        row = _row(FREQUENCY, rater, SLOPE, term=EVENT, part=WITHIN, compared_with=ALL, **{**base, "window": phase})
        whole = frame if reason else coded.inside(coded.lagged(name, rater)[0], phase)
        _add_slope(part, coded, row, whole, reason, series, ALL)
    for treatment, clients in coded.treatments().items():
        row = _row(FREQUENCY, rater, SLOPE, term=EVENT, part=WITHIN, compared_with=ALL, treatment=treatment, **base)
        chosen = frame if reason else frame[frame["client"].isin(clients)]
        _add_slope(part, coded, row, chosen, reason, series, ALL)


def _add_slope(
    part: Part,
    coded: CodedSessions,
    row: Mapping[str, Any],
    frame: pd.DataFrame,
    reason: str,
    series: tuple[str, str, str],
    compared: str,
) -> None:
    """Add the slope within clients of a later measure on a cause, with the later measure's own level now and the session held constant."""
    from alliance.statistics.session_effects import within_slopes

    cause, held, outcome = series
    usable = frame.dropna(subset=[outcome]) if not reason else frame
    told = reason or enough(usable, FEWEST[compared], coded.min_clients, "the event coded, the alliance, and both one session later")
    if told:
        add_missing(part, [row], told)
        return
    found = within_slopes(
        usable[[cause]].to_numpy(dtype=float),
        usable[outcome].to_numpy(dtype=float),
        usable["client"].to_numpy(),
        coded.therapist_of(usable["client"]),
        held=usable[[held, "session"]].to_numpy(dtype=float),
        centring=_CENTRING[compared],
        min_clients=coded.min_clients,
    )
    if row["explained"] == EVENT and compared == ALL:
        found = replace(found, caution="; ".join(text for text in (FEEDBACK, found.caution) if text))
    add_found(part, coded, [row], found, counts(usable, coded.therapists, FEWEST[compared]), (0,))


def _add_accuracy(part: Part, coded: CodedSessions, rater: str) -> None:
    """Add accuracy of every type of event and the next alliance within clients, and the first type against the mean of the others."""
    from alliance.statistics.session_effects import stacked_contrasts, within_slopes

    kinds = coded.section["accuracy"]
    if not kinds:
        return
    same = coded.same_rater(kinds[0], rater)
    fixed = {"part": WITHIN, "compared_with": ALL, "window": coded.section["window"], "same_rater": same}
    rows = [_row(ACCURACY, rater, SLOPE, event=name, term="accuracy", **fixed) for name in kinds]
    contrast = f"{kinds[0]} - others"
    rows += [_row(ACCURACY, rater, CONTRAST, event=contrast, term="accuracy", **fixed)] if len(kinds) > 1 else []
    frame, reason = coded.lagged(kinds[0], rater)
    frames = {name: coded.event(name, "intensity") for name in kinds}
    reason = reason or next((told for _, told in frames.values() if told), "")
    if reason:
        add_missing(part, rows, reason)
        return
    frame = coded.inside(frame, coded.section["window"]).dropna(subset=["next_alliance"])
    every = pd.concat([one["event"] for one, _ in frames.values()])
    middle, spread = float(every.mean()), float(every.std())
    outcome_sd = within_sd(frame["next_alliance"], frame["client"]) if len(frame) else float("nan")
    told = enough(frame, 2, coded.min_clients, "the event coded, the alliance, and the alliance one session later")
    told = told or ("" if spread > 0 and outcome_sd > 0 else "needs accuracy and alliance that vary")
    if told:
        add_missing(part, rows, told)
        return
    said, value = {}, {}
    for name, (one, _) in frames.items():
        merged = frame[OF_SESSION].merge(one, on=OF_SESSION, how="left")["event"].to_numpy(dtype=float)
        said[name] = np.isfinite(merged).astype(float)
        value[name] = np.where(np.isfinite(merged), (merged - middle) / spread, 0.0)
    found = within_slopes(
        np.column_stack([value[name] for name in kinds]),
        frame["next_alliance"].to_numpy(dtype=float) / outcome_sd,
        frame["client"].to_numpy(),
        coded.therapist_of(frame["client"]),
        held=np.column_stack([*(said[name] for name in kinds), frame[["alliance", "session"]].to_numpy(dtype=float)]),
        contrasts=stacked_contrasts(len(kinds), [0], range(1, len(kinds))) if len(kinds) > 1 else None,
        standardised=False,
        min_clients=coded.min_clients,
    )
    add_found(part, coded, rows, found, counts(frame, coded.therapists, 2), range(len(rows)))


def ruptures_of(coded: CodedSessions, rater: str) -> tuple[pd.DataFrame, str]:
    """Return the sessions in rupture windows of a rater's alliance, and why there are none."""
    alliance, reason = coded.alliance(rater)
    rule = coded.options["questions"]["ruptures"]["criteria"][coded.section["ruptures"]["criterion"]]
    return rupture_windows(alliance, rule, settings(coded.options)), reason


def at_events(windows: pd.DataFrame, coded: CodedSessions) -> pd.DataFrame:
    """Return rows of rupture windows at the session whose events may repair: that of the next rating, or the one before it."""
    same = coded.section["ruptures"]["events_of"] == "same_session"
    return windows.assign(session=windows["session"] + 1) if same else windows


def _add_ruptures(part: Part, coded: CodedSessions, rater: str) -> None:
    """Add what two kinds of event do to the next alliance inside rupture windows, and their difference."""
    from alliance.statistics.session_effects import pooled_slopes

    chosen = coded.section["ruptures"]["contrast"]
    if not chosen:
        return
    same = coded.same_rater(chosen[0], rater)
    fixed = {"part": WITHIN, "window": "rupture", "same_rater": same}
    rows = [_row(IN_RUPTURES, rater, SLOPE, event=name, term=EVENT, **fixed) for name in chosen]
    rows.append(_row(IN_RUPTURES, rater, CONTRAST, event=" - ".join(chosen), term=EVENT, **fixed))
    windows, reason = ruptures_of(coded, rater)
    frames = [coded.event(name) for name in chosen]
    reason = reason or next((told for _, told in frames if told), "")
    if reason:
        add_missing(part, rows, reason)
        return
    frame = at_events(windows, coded)
    for place, (one, _) in enumerate(frames):
        spread = within_sd(one["event"], one["client"])
        own = one["event"] - one.groupby("client")["event"].transform("mean")
        frame = frame.merge(one[OF_SESSION].assign(**{f"event{place}": own / spread}), on=OF_SESSION, how="inner")
    told = enough(frame, 1, coded.min_clients, "a coded session in a rupture and the next alliance")
    if told:
        add_missing(part, [{**row, **counts(frame, coded.therapists)} for row in rows], told)
        return
    alliance, _ = coded.alliance(rater)
    spread = within_sd(alliance["alliance"], alliance["client"])
    found = pooled_slopes(
        frame[["event0", "event1"]].to_numpy(dtype=float),
        (frame["next_alliance"] - frame["before"]).to_numpy(dtype=float) / spread,
        frame["client"].to_numpy(),
        coded.therapist_of(frame["client"]),
        held=np.column_stack([frame["depth"].to_numpy(dtype=float) / spread, frame["session"].to_numpy(dtype=float)]),
        contrasts=np.array([[1.0, -1.0]]),
        min_clients=coded.min_clients,
    )
    add_found(part, coded, rows, found, counts(frame, coded.therapists), range(3))


def _moderator(coded: CodedSessions, by: str, rater: str) -> tuple[pd.DataFrame, str]:
    """Return ``client, session, moderator``; the number of the session, the alliance (or a scale of it), or another event."""
    if by == "session":
        return pd.DataFrame(columns=[*OF_SESSION, "moderator"]), ""
    if by.split(".")[0] == ALLIANCE:
        frame, reason = coded.alliance(rater, by.partition(".")[2])
        return frame.rename(columns={"alliance": "moderator"}), reason
    frame, reason = coded.event(by)
    return frame.rename(columns={"event": "moderator"}), reason


def _add_moderation(part: Part, coded: CodedSessions, name: str, rater: str) -> None:
    from alliance.statistics.within_interaction import SESSIONS, within_interaction

    content = coded.section["moderations"][name]
    by, explained = content["by"], content["outcome"]
    event = content["event"]
    fixed = {"event": event, "moderator": name, "explained": explained, "window": coded.section["window"]}
    fixed |= {"same_rater": coded.same_rater(event, rater)}
    rows = [_row(MODERATION, rater, kind, term=term, part=where, **fixed) for _, term, where, kind in _MODERATED]
    places = [place for place, *_ in _MODERATED]
    if by == "session":
        # The number of a session says nothing about a client's level.
        kept = [at for at, row in enumerate(rows) if row["part"] != ACROSS]
        rows, places = [rows[at] for at in kept], [places[at] for at in kept]
    frame, reason = coded.lagged(event, rater)
    if explained == SYMPTOMS and not reason:
        symptoms, reason = coded.symptoms()
        later = symptoms.assign(session=symptoms["session"] - coded.section["lag"]).rename(columns={"symptoms": "next_symptoms"})
        events, told = coded.event(event)
        reason = reason or told
        frame = events.merge(symptoms, on=OF_SESSION).merge(later, on=OF_SESSION)
    moderator, told = _moderator(coded, by, rater)
    reason = reason or told
    if reason:
        add_missing(part, rows, reason)
        return
    frame = coded.inside(frame, coded.section["window"])
    frame = frame.assign(moderator=frame["session"]) if by == "session" else frame.merge(moderator, on=OF_SESSION, how="inner")
    frame = frame.dropna(subset=[f"next_{explained}", "moderator"])
    told = enough(frame, SESSIONS, coded.min_clients, f"the event coded, the moderator, and {explained} now and one session later")
    if told:
        add_missing(part, [{**row, **counts(frame, coded.therapists, SESSIONS)} for row in rows], told)
        return
    # What is the moderator itself need not be held beside it.
    held = [*([explained] if by != explained else []), *(["session"] if by != "session" else [])]
    found = within_interaction(
        *(frame[column].to_numpy(dtype=float) for column in ("event", "moderator", f"next_{explained}")),
        frame["client"].to_numpy(),
        coded.therapist_of(frame["client"]),
        held=frame[held].to_numpy(dtype=float),
        min_clients=coded.min_clients,
    ).found
    add_found(part, coded, rows, found, counts(frame, coded.therapists, SESSIONS), places)


def _add_complementarity(part: Part, coded: CodedSessions, rater: str) -> None:
    """Add what complementary replies in sessions with an event do to the next alliance, also where the client was hostile or friendly."""
    from alliance.statistics.within_interaction import SESSIONS

    after = coded.section[circle.ALONE]["after"]
    if not after:
        return
    fixed = {"event": after, "part": WITHIN, "window": coded.section["window"], "same_rater": coded.same_rater(after, rater)}
    rows = [_row(COMPLEMENTARITY, rater, kind, term=term, **fixed) for _, term, kind in circle.TERMS]
    frame, reason = circle.sessions_of(coded, rater)
    what = f"{after} and both people's positions coded, and the alliance one session later"
    told = reason or enough(frame, SESSIONS, coded.min_clients, what)
    if told:
        add_missing(part, [{**row, **counts(frame, coded.therapists, SESSIONS)} for row in rows], told)
        return
    places = [place for place, *_ in circle.TERMS]
    add_found(part, coded, rows, circle.effects_of(frame, coded), counts(frame, coded.therapists, SESSIONS), places)


def poor_clients(coded: CodedSessions, rater: str) -> tuple[pd.DataFrame, str]:
    """Return one row a client: initial alliance, attention after it and the alliance after that, and why there are none.

    ``client, initial, sessions, variance, attention, later, session`` (the last: number of sessions behind the row).
    """
    rule = coded.section["initially_poor"]
    columns = ["client", "initial", "sessions", "variance", "attention", "later", "session"]
    alliance, reason = coded.alliance(rater)
    event, other = coded.event(rule["attention"])
    if reason or other:
        return pd.DataFrame(columns=columns), reason or other
    first, until = rule["initial"], rule["attention_until"]
    begin = alliance[alliance["session"] <= first].groupby("client")["alliance"].agg(["mean", "size", "var"])
    during = event[event["session"].between(first + 1, until)].groupby("client")["event"].agg(["mean", "size"])
    after = alliance[alliance["session"] > until].groupby("client")["alliance"].agg(["mean", "size"])
    frame = pd.DataFrame(
        {
            "initial": begin["mean"],
            "sessions": begin["size"],
            "variance": begin["var"],
            "attention": during["mean"],
            "later": after["mean"],
            "session": begin["size"] + during["size"] + after["size"],
        }
    )
    frame = frame.dropna(subset=["initial", "attention", "later"]).rename_axis("client").reset_index()
    return frame.sort_values("client", ignore_index=True)[columns], ""


def _add_poor(part: Part, coded: CodedSessions, rater: str) -> None:
    from alliance.statistics.initial_level import EFFECTS, attention_by_initial_level

    rule = coded.section["initially_poor"]
    if not rule["attention"]:
        return
    fixed = {"event": rule["attention"], "part": "clients", "same_rater": coded.same_rater(rule["attention"], rater)}
    rows = [_row(INITIALLY_POOR, rater, kind, term=term, **fixed) for term, kind in (_POOR[name] for name in EFFECTS)]
    frame, reason = poor_clients(coded, rater)
    fields = {
        "n_sessions": int(frame["session"].sum()),
        "n_clients": len(frame),
        "n_therapists": None if coded.therapists is None else int(coded.therapists.reindex(frame["client"]).nunique()),
    }
    found = None
    if not reason:
        made = attention_by_initial_level(
            *(frame[name].to_numpy(dtype=float) for name in ("initial", "sessions", "variance", "attention", "later")),
            coded.therapist_of(frame["client"]),
            min_clients=max(coded.min_clients, rule["clients"]),
        )
        found, reason = made.found, made.reason
    if reason or found is None:
        add_missing(part, [{**row, **fields} for row in rows], reason)
        return
    add_found(part, coded, rows, found, fields, range(len(EFFECTS)))


def with_same_rater(pooled: pd.DataFrame, gathered: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return pooled rows that say whether the rater of the alliance coded the events: of all sites, or mixed."""
    if pooled.empty:
        return pooled
    used = gathered[gathered["status"].isin(WITH_NUMBERS)]
    agreed = used.groupby(list(keys))["same_rater"].agg(lambda values: values.iloc[0] if values.nunique() == 1 else "mixed")
    return pooled.assign(same_rater=agreed.reindex(pd.MultiIndex.from_frame(pooled[list(keys)])).to_numpy())


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table: rows of the sites, and their random-effects means, with tests that effects are too small to matter."""
    pooling, bound = options["pooling"], options["questions"][QUESTION]["equivalence_bound"]
    reliability = gathered["estimate_type"].eq("reliability")
    sites, pooled = pd.DataFrame(), pd.DataFrame()
    for scale, part in (("identity", gathered[~reliability]), (effects.COMPLEMENT, gathered[reliability])):
        own = effects.scaled(part.reset_index(drop=True), scale)
        sites = effects.stack(sites, effects.site_rows(own, scale, pooling["level"]))
        pooled = effects.stack(pooled, with_same_rater(effects.pooled_rows(own, POOL_KEYS, scale, pooling), part, POOL_KEYS))
    absent = effects.absent_site_rows(summaries, _headline_keys(options), "identity")
    return effects.stack(_tested(sites, bound, pooling), _tested(pooled, bound, pooling), absent)


def _headline_keys(options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the keys of the rows that a site without an answer shows: every event and the next alliance."""
    section = options["questions"][QUESTION]
    rows = [
        _row(FREQUENCY, section["raters"][0], SLOPE, event=name, term=EVENT, part=WITHIN, compared_with=ALL, window=section["window"])
        for name in sorted(section["events"])
    ]
    return pd.DataFrame(rows)[POOL_KEYS]


def _tested(rows: pd.DataFrame, bound: float, pooling: Mapping[str, Any]) -> pd.DataFrame:
    """Return rows with the test that slopes of events lie inside the bounds."""
    from alliance.statistics.equivalence import equivalence

    if rows.empty:
        return rows
    tested = rows["topic"].isin([FREQUENCY, ACCURACY]) & rows["estimate_type"].isin([SLOPE, CONTRAST])
    tested &= rows["status"].isin(WITH_NUMBERS) & rows["std_error"].notna()
    found: dict[str, dict[Any, Any]] = {"bound": {}, "p_equivalence": {}, "decision": {}}
    for row in rows[tested].itertuples():
        one = equivalence(float(row.estimate), float(row.std_error), (-bound, bound), degrees_of_freedom(row, pooling), pooling["level"])
        for name, result in (("bound", bound), ("p_equivalence", one.p_tost), ("decision", one.decision)):
            found[name][row.Index] = result
    return rows.assign(**{name: pd.Series(values, dtype=object).reindex(rows.index) for name, values in found.items()})


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    section = options["questions"][QUESTION]
    found = table[table["status"].isin(WITH_NUMBERS)]
    if found.empty:
        return [Sentence("Events in sessions: no site has coded events and the alliance in enough sessions.")]
    after = "the next session" if section["lag"] == 1 else f"{section['lag']} sessions later"
    sentences = [
        Sentence(
            "Coded events (an hour of session; a coded session without the event counts as none) were related within "
            "clients to the alliance "
            f"of {after}, the alliance of the same session and the number of the session held constant, and the alliance likewise to later "
            "events. Deviations are from the mean of all sessions of a client; since that mean holds what came later, "
            "which biases slopes by "
            "about one over the number of sessions, the same was estimated with deviations from the mean of later "
            "sessions, instrumented by "
            "those from earlier ones.",
            ("nickell_1981", "arellano_bover_1995", "hayakawa_2009"),
        )
    ]
    topics = set(found["topic"])
    if MODERATION in topics:
        sentences.append(
            Sentence(
                "Whether the effect of an event depends on something else in the session was tested with products of deviations that were "
                "made deviations again.",
                ("giesselmann_schmidt_catran_2022",),
            )
        )
    if COMPLEMENTARITY in topics:
        sentences.append(
            Sentence(
                f"In sessions with {section[COMPLEMENTARITY]['after']}, replies were called the more complementary the closer the "
                "therapist's position on the interpersonal circle was to the client's in affiliation and to its opposite in dominance; "
                "both positions were held constant.",
                ("kiesler_1983",),
            )
        )
    if IN_RUPTURES in topics:
        rule = section["ruptures"]
        sentences.append(
            Sentence(
                f"Ruptures were found by the criterion {rule['criterion']} of the question on ruptures (a convention). "
                "While a rupture lasted, "
                f"the next alliance was regressed on events {_WHEN[rule['events_of']]}, above a client's own mean, the depth of "
                "the drop held constant, so that the return to the mean is the same for the kinds of event that are compared."
            )
        )
    if INITIALLY_POOR in topics:
        rule = section["initially_poor"]
        sentences.append(
            Sentence(
                f"Initial alliance is the mean of sessions 1 to {rule['initial']}, attention that of the sessions after these up to "
                f"{rule['attention_until']}, later alliance the mean after that. So that a chance low start is not taken "
                "for a poor alliance, "
                "observed initial levels were replaced by expected true ones (regression calibration with the variance within clients).",
                ("carroll_ruppert_stefanski_crainiceanu_2006",),
            )
        )
    sentences += cluster_sentences(found["method"])
    if found["site"].eq(POOLED).any():
        sentences.append(pooling_sentence(options["pooling"], "Effects of events were pooled"))
    return sentences
