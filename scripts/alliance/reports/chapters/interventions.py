"""What therapists do in sessions, and how the alliance goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from alliance.questions.contract import COMPUTED
from alliance.questions.interventions import complementarity as circle
from alliance.reports import figures, numbers
from alliance.reports.chapters import common, published
from alliance.reports.elements import Cell, Chapter, Column, Figure, Fold, Part, Table, listed
from alliance.reports.figures import ForestRow
from alliance.reports.inputs import ReportData

QUESTION = "interventions"
ONE_STAGE = "logit_one_stage"
SLOPE, CONTRAST = "slope_standardised", "slope_contrast"
WITHIN, BETWEEN = "within_clients", "between_clients"
DECISIONS = {
    "equivalent": "too small to matter",
    "different": "differs from zero",
    "equivalent_and_different": "differs from zero, too small to matter",
    "undecided": "undecided",
}
CURVES = {
    "inverted_u": "a middle amount is best",
    "u": "a middle amount is worst",
    "not_shown": "no turn of the curve is shown",
}
LIMITS = (
    "Nobody assigned interventions: therapists choose them for what they see. That an event is followed by a change does not show that it "
    "caused it.",
    "Only some clients are coded, how well coders agree is not known here, and sites may code differently.",
    "Differences between clients (who get more of an intervention) are not effects of it: clients, therapists and treatments differ too.",
    "A drop of the alliance from one session to the next is partly chance and would partly be regained whatever happens; kinds of "
    "interpretation are compared only inside such drops, where this is alike for all.",
    "Whether a reply confirms or breaks what a client expects of others can be told only where both people’s positions on the "
    "interpersonal circle are coded.",
    "Of many events some intervals leave out zero by chance alone, about one in twenty; read them beside the others.",
)


def build(data: ReportData) -> Chapter:
    """Return the chapter on interventions."""
    tables = common.tables_of(data, QUESTION)
    events, curves, transitions = (tables[name] for name in ("events", "curvilinear", "transitions"))
    lead = frequency_sentence(data, events)
    findings = [
        lead,
        back_sentence(data, events),
        accuracy_sentence(data, events),
        *(curve_sentence(data, curves, part) for part in (WITHIN, BETWEEN)),
        response_sentence(data, transitions),
        rupture_sentence(data, events, transitions),
        circle_sentence(data, events),
        poor_sentence(data, events),
    ]
    return Chapter(
        id="interventions",
        title="What therapists do, and how the alliance goes on",
        question="Which interventions are followed by a better alliance, is a middle amount best, and what repairs a torn alliance?",
        sources=(QUESTION,),
        headlines=(lead,) if lead else (),
        findings=tuple(sentence for sentence in findings if sentence),
        blocks=(
            *event_figure(data, events),
            event_table(data, events),
            Part("interventions-amount", "Is a middle amount best?", ()),
            curve_table(data, curves),
            Part("interventions-transitions", "What follows a challenge, and what repairs a rupture", ()),
            transition_table(data, transitions),
            *published.tables(data, QUESTION, lambda table, row: published_name(data, table, row)),
            *details(data, tables),
        ),
        limits=LIMITS,
        missing=missing(data, tables),
    )


def published_name(data: ReportData, table: str, row: Any) -> str:
    """Return what a claim of the review is about; empty for rows beside those that the chapter tells of."""
    if row.alliance_rater != rater(data):
        return ""
    if table == "transitions":
        if row.topic != "after_event" or row.method != ONE_STAGE:
            return ""
        return f"{event_name(data, row.response)} after a challenge, strong against weak alliance (odds ratio)"
    if table == "events" and row.topic == "frequency" and row.claim != "H1":
        return f"{event_name(data, row.event)}, alliance one session later" if row.explained == "alliance" else ""
    if table == "events" and row.topic in ("accuracy", "in_ruptures", "initially_poor"):
        about = event_name(data, row.event) if row.event else ""
        return ", ".join(part for part in (common.words(row.topic), about, numbers.typeset(getattr(row, "term", ""))) if part)
    return ""


def section(data: ReportData) -> dict[str, Any]:
    """Return the question's part of the configuration."""
    return data.options["questions"][QUESTION]


def event_name(data: ReportData, name: str) -> str:
    """Return an event (or two, first minus second) as it is read."""
    known = section(data)["events"]
    parts = [known[one]["label"] if one in known else common.words(one).lower() for one in name.split(" - ")]
    return " minus ".join([parts[0], *(part[:1].lower() + part[1:] for part in parts[1:])])


def rater(data: ReportData) -> str:
    """Return whose alliance the text tells of."""
    return section(data)["raters"][0]


def first_row(table: pd.DataFrame, **keys: str) -> Any:
    """Return the pooled row with the given keys, the one with a number first; None where there is none."""
    rows = list(common.tuples(common.pooled_rows(table, **keys)))
    return next((row for row in rows if common.has_number(row)), rows[0] if rows else None)


def slope_of(data: ReportData, events: pd.DataFrame, event: str, **keys: str) -> Any:
    """Return the pooled slope of an event in the main window."""
    fixed = {"topic": "frequency", "explained": "alliance", "part": WITHIN, "compared_with": "all_sessions", "treatment": ""}
    fixed |= {"window": section(data)["window"], "alliance_rater": rater(data), "event": event}
    return first_row(events, **{**fixed, **keys})


def shown(data: ReportData, row: Any) -> str:
    """Return an estimate with its interval; a dash where there is none."""
    if row is None or not common.has_number(row):
        return numbers.UNKNOWN
    ends = common.interval_text(row, data.decimals)
    return common.estimate_text(row, data.decimals) + ("" if ends == numbers.UNKNOWN else f" {ends}")


def known(row: Any) -> bool:
    """Tell whether a row has an estimate with an interval."""
    return row is not None and common.has_number(row) and numbers.known(row.ci_low) and numbers.known(row.ci_high)


def clear(row: Any, reference: float = 0.0) -> bool:
    """Tell whether the interval of a row leaves out a value."""
    return known(row) and (row.ci_low > reference or row.ci_high < reference)


def frequency_sentence(data: ReportData, events: pd.DataFrame) -> str:
    """Return which events are followed by a better or a worse alliance, within clients."""
    rows = [(name, slope_of(data, events, name)) for name in section(data)["events"]]
    rows = [(name, row) for name, row in rows if known(row)]
    if not rows:
        return ""
    told, again = [], []
    for better, words in ((True, "better"), (False, "worse")):
        found = [(name, row) for name, row in rows if clear(row) and (row.estimate > 0) == better]
        if found:
            named = listed([f"{event_name(data, name).lower()} ({shown(data, row)})" for name, row in found])
            told.append(f"a {words} alliance follows sessions with more {named} than the client’s usual")
        again += [name for name, _ in found]
    lead = f"Of {common.plural(len(rows), 'event')} that were looked at within clients, "
    if told:
        text = lead + "; ".join(told) + f" (SD within clients, {data.level} CI)."
        text += _against_earlier_sessions(data, events, again)
    else:
        text = lead + f"none is followed by an alliance that surely differs (all {data.level} intervals hold zero)."
    small = [event_name(data, name).lower() for name, row in rows if row.decision == "equivalent"]
    if small:
        bound = section(data)["equivalence_bound"]
        text += f" Shown to be too small to matter (within {bound:g} SD): {listed(small)}."
    return text


def _against_earlier_sessions(data: ReportData, events: pd.DataFrame, names: Sequence[str]) -> str:
    """Return for which events this also shows where sessions are compared with earlier ones alone."""
    rows = {name: slope_of(data, events, name, compared_with="earlier_sessions") for name in names}
    compared = [name for name in names if known(rows[name])]
    if not compared:
        return ""
    sure = [event_name(data, name).lower() for name in compared if clear(rows[name])]
    if len(sure) == len(compared):
        return " The same shows where sessions are compared with earlier ones alone."
    if not sure:
        return " Compared with earlier sessions alone, which is less precise, none of this is sure."
    return f" Compared with earlier sessions alone, which is less precise, it is sure for {listed(sure)} only."


def back_sentence(data: ReportData, events: pd.DataFrame) -> str:
    """Return which events follow the alliance, from earlier sessions: means of all sessions hold alliance that the events changed."""
    rows = [(name, back_row(data, events, name)) for name in section(data)["events"]]
    rows = [(name, row) for name, row in rows if known(row)]
    if not rows:
        return ""
    named = [
        f"{'more' if row.estimate > 0 else 'fewer'} {event_name(data, name).lower()} ({shown(data, row)})"
        for name, row in rows
        if clear(row)
    ]
    if not named:
        return "The other way round, no event is shown to follow from the alliance of the session before."
    return f"The other way round, a better alliance than before is followed, one session later, by {listed(named)}."


def back_row(data: ReportData, events: pd.DataFrame, event: str) -> Any:
    """Return the pooled slope of an event on the alliance of the session before."""
    return slope_of(data, events, event, explained="event", compared_with="earlier_sessions")


def accuracy_sentence(data: ReportData, events: pd.DataFrame) -> str:
    """Return what accuracy of the kinds of interpretation brings."""
    rows = common.pooled_rows(events, topic="accuracy", alliance_rater=rater(data))
    named = [(event_name(data, row.event), row) for row in common.tuples(rows) if known(row)]
    if not named:
        return ""
    told = "; ".join(f"{name.lower()} {shown(data, row)}" for name, row in named)
    return f"What accuracy adds to the alliance of the next session (SD within clients per SD of accuracy): {told}."


def curve_sentence(data: ReportData, curves: pd.DataFrame, part: str) -> str:
    """Return whether a middle amount is best, within or between clients."""
    told = []
    for name in section(data)["curvilinear"]:
        keys = {"event": name, "part": part, "alliance_rater": rater(data)}
        verdict, bend = (first_row(curves, term=term, **keys) for term in ("inverted_u", "quadratic"))
        if verdict is not None and common.has_number(verdict):
            lines = [first_row(curves, term=term, **keys) for term in ("line_below", "line_above")]
            text = f"{event_name(data, name).lower()}: {CURVES[verdict.decision]} by the two-lines test "
            text += f"(slope below the bend {shown(data, lines[0])}, "
            text += f"above it {shown(data, lines[1])})"
            if known(bend):
                text += f"; the squared term is {shown(data, bend)}"
            told.append(text)
        elif known(bend):
            told.append(f"{event_name(data, name).lower()}: two lines could not be pooled; the squared term is {shown(data, bend)}")
    where = "Within clients" if part == WITHIN else "Between clients"
    return f"{where}, {'; '.join(told)}." if told else ""


def transition(data: ReportData, table: pd.DataFrame, **keys: str) -> Any:
    """Return a pooled row of transitions; of the logit models that over the rows of all sites, where there is one."""
    rows = [row for row in common.tuples(common.pooled_rows(table, alliance_rater=rater(data), **keys)) if common.has_number(row)]
    whole = [row for row in rows if row.method == ONE_STAGE]
    return (whole or rows or [None])[0]


def response_sentence(data: ReportData, table: pd.DataFrame) -> str:
    """Return how clients with weak and strong alliances answer."""
    after = section(data)["transitions"]["after"]
    told = []
    for response in section(data)["transitions"]["responses"]:
        keys = {"topic": "after_event", "after": after, "response": response}
        low, high = (transition(data, table, group=group, estimate_type="share", **keys) for group in ("low", "high"))
        ratio = transition(data, table, group="high - low", model="multilevel", **keys)
        if low is None or high is None:
            continue
        answer, challenge = (event_name(data, name).lower() for name in (response, after))
        text = f"{answer} follows {common.estimate_text(low, data.decimals)} of {challenge} where "
        text += f"the alliance before was weak and {common.estimate_text(high, data.decimals)} where it was strong"
        if known(ratio):
            text += f" (odds ratio for one client {shown(data, ratio)})"
        told.append(text)
    return f"{told[0][:1].upper()}{'; '.join(told)[1:]}." if told else ""


def rupture_sentence(data: ReportData, events: pd.DataFrame, transitions: pd.DataFrame) -> str:
    """Return what two kinds of intervention do inside rupture windows."""
    contrast = section(data)["ruptures"]["contrast"]
    if not contrast:
        return ""
    name = " - ".join(contrast)
    row = first_row(events, topic="in_ruptures", event=name, alliance_rater=rater(data))
    ratio = transition(data, transitions, topic="repair", group=name, model="multilevel")
    told = []
    if known(row):
        told.append(f"the next alliance differs by {shown(data, row)} SD per SD of the event")
    if known(ratio):
        told.append(f"the odds of repair differ by a factor of {shown(data, ratio)}")
    if not told:
        return ""
    sure = clear(row) or clear(ratio, 1.0)
    ending = "" if sure else "; neither excludes that there is no difference" if len(told) > 1 else "; no difference is not excluded"
    return f"In ruptures ({event_name(data, name).lower()}): {' and '.join(told)}{ending}."


def circle_sentence(data: ReportData, events: pd.DataFrame) -> str:
    """Return whether replies that complement the client's position harm where the client is hostile; empty where positions lack."""
    keys = {"topic": "complementarity", "alliance_rater": rater(data)}
    row, product = (first_row(events, term=term, **keys) for term in (circle.HOSTILE, circle.PRODUCT))
    if not known(row):
        return ""
    said = "is followed by a worse alliance" if row.ci_high < 0 else "is followed by a better alliance" if row.ci_low > 0 else "stays open"
    lead = "What follows from a reply" if "open" in said else "A reply"
    text = (
        f"{lead} that complements hostile behaviour of the client (alike in affiliation, opposite in dominance; sessions with "
        f"{event_name(data, row.event).lower()}) {said}: {shown(data, row)} SD of the next alliance per SD"
    )
    return f"{text}, and {shown(data, product)} more for each SD that the client is friendlier." if known(product) else f"{text}."


def poor_sentence(data: ReportData, events: pd.DataFrame) -> str:
    """Return what attention to the relationship does where the alliance is poor at first."""
    keys = {"topic": "initially_poor", "alliance_rater": rater(data)}
    row = first_row(events, term="attention, initial level - 1 SD", **keys)
    if not known(row):
        return ""
    said = "helps" if row.ci_low > 0 else "harms" if row.ci_high < 0 else "helps or not stays open"
    lead = (
        f"Whether attention to the relationship where the alliance is poor at first {said}"
        if "open" in said
        else (f"Attention to the relationship where the alliance is poor at first {said}")
    )
    text = f"{lead}: {shown(data, row)} SD of the later alliance per SD of attention, the return to the mean allowed for"
    noise = first_row(events, term="gain of the lowest third that noise alone brings", **keys)
    gain = first_row(events, term="gain of the lowest third", **keys)
    if known(noise) and known(gain):
        text += (
            f". Clients in the lowest third gain {shown(data, gain)} SD more than all clients; noise alone would bring {shown(data, noise)}"
        )
    return text + "."


def event_figure(data: ReportData, events: pd.DataFrame) -> list[Figure]:
    """Return the pooled effects of events on the next alliance."""
    # What clients answer is no intervention, and of kinds of interpretation it is their accuracy that is told.
    others = {*section(data)["accuracy"], *section(data)["transitions"]["responses"]}
    names = [name for name in section(data)["events"] if name not in others]
    found = [(event_name(data, name), slope_of(data, events, name)) for name in names]
    rows = [
        ForestRow(name, row.estimate, row.ci_low, row.ci_high, weight=float(row.n_clients) if numbers.known(row.n_clients) else 1.0)
        for name, row in found
        if known(row)
    ]
    if not rows:
        return []
    told = "; ".join(f"{row.label} {numbers.bounded(row.estimate, data.decimals)}" for row in rows)
    arguments = {"axis": "Next alliance (SD within clients) per SD of the event", "decimals": data.decimals}
    return [
        Figure(
            id="interventions-events",
            title="Events and the alliance one session later, within clients",
            alt=f"Forest plot of pooled slopes with {data.level} intervals: {told}.",
            svg=figures.forest(rows, **arguments, narrow=True),
            note="To the right: more of it than the client usually gets is followed by a better alliance. The alliance of the session "
            "itself is held constant.",
        )
    ]


def event_table(data: ReportData, events: pd.DataFrame) -> Table:
    """Return every event and the alliance, within and between clients and both ways, pooled."""
    rows = []
    for name in section(data)["events"]:
        within, earlier = (slope_of(data, events, name, **keys) for keys in ({}, {"compared_with": "earlier_sessions"}))
        back = back_row(data, events, name)
        between = slope_of(data, events, name, part=BETWEEN, compared_with="")
        if within is None:
            continue
        cells = [number(data, row) for row in (within, earlier, between, back)]
        decision = DECISIONS.get(within.decision, "") or common.remark(within)
        rows.append(
            (Cell(event_name(data, name)), *cells, Cell(decision), common.count_cell(within.n_sites), common.count_cell(within.n_clients))
        )
    return Table(
        "interventions-table",
        "Events and the alliance one session later, pooled over sites",
        (
            Column("Event"),
            Column(f"Within clients ({data.level} CI)", True),
            Column("The same against earlier sessions only", True),
            Column("Between clients", True),
            Column("From the alliance to the next event", True),
            Column("Within clients it is", wide=True),
            Column("Sites", True),
            Column("Clients", True),
        ),
        tuple(rows),
        note=f"Slopes in SD within (between) clients; too small to matter: inside {section(data)['equivalence_bound']:g} SD either way. "
        "From the alliance to the next event: against earlier sessions only, since events change the later alliance.",
        empty="No event is configured.",
    )


def number(data: ReportData, row: Any) -> Cell:
    """Return a cell with an estimate and its interval."""
    value = row.estimate if row is not None and common.has_number(row) else ""
    return Cell(shown(data, row), value if value == "" else float(value))


def curve_table(data: ReportData, curves: pd.DataFrame) -> Table:
    """Return the tests of curves, pooled."""
    rows = []
    names = {WITHIN: "within clients", BETWEEN: "between clients"}
    for name in section(data)["curvilinear"]:
        for part, words in names.items():
            keys = {"event": name, "part": part, "alliance_rater": rater(data)}
            found = {
                term: first_row(curves, term=term, **keys) for term in ("linear", "quadratic", "line_below", "line_above", "inverted_u")
            }
            if found["quadratic"] is None:
                continue
            verdict = found["inverted_u"]
            told = CURVES[verdict.decision] if verdict is not None and common.has_number(verdict) else "two lines could not be pooled"
            bends = common.site_rows(curves, term="bend", event=name, part=part)
            where = bends.loc[bends["status"].isin(COMPUTED), "estimate"].median(skipna=False)
            rows.append(
                (
                    Cell(event_name(data, name)),
                    Cell(words),
                    *(number(data, found[term]) for term in ("linear", "quadratic", "line_below", "line_above")),
                    Cell(
                        numbers.decimal(where, data.decimals) if numbers.known(where) else numbers.UNKNOWN,
                        float(where) if numbers.known(where) else "",
                    ),
                    Cell(common.words(told)),
                    common.count_cell(found["quadratic"].n_clients),
                )
            )
    heads = ("Linear", "Squared", "Line below the bend", "Line above it")
    return Table(
        "interventions-curves",
        "Amount of an intervention and the alliance one session later, pooled over sites",
        (
            Column("Event"),
            Column("Level"),
            *(Column(f"{head} ({data.level} CI)" if head == "Linear" else head, True) for head in heads),
            Column("Bend, median of sites (an hour)", True),
            Column("Two-lines test", wide=True),
            Column("Clients", True),
        ),
        tuple(rows),
        note="A squared term alone cannot show that too much is worse: it also bends where more only helps less. That takes two lines with "
        "opposite signs.",
        empty="No amount is configured.",
    )


def transition_name(data: ReportData, row: Any) -> str:
    """Return what follows what, as it is read."""
    if row.topic == "repair":
        return "Repair in a rupture"
    first, _, second = row.response.partition(" against ")
    response = event_name(data, first) + (f" rather than {event_name(data, second).lower()}" if second else "")
    return f"{response} after {event_name(data, row.after).lower()}"


def transition_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return shares of both groups and the odds ratios between them, pooled."""
    rows = []
    chosen = common.pooled_rows(table, alliance_rater=rater(data))
    chosen = chosen[chosen["model"].eq("counted") & chosen["estimate_type"].eq("odds_ratio")]
    for row in common.tuples(chosen):
        keys = {"topic": row.topic, "after": row.after, "response": row.response}
        names = ("low", "high") if row.topic == "after_event" else tuple(reversed(row.group.split(" - ")))
        shares = [transition(data, table, group=name, estimate_type="share", **keys) for name in names]
        model = transition(data, table, group=row.group, model="multilevel", estimate_type="odds_ratio", **keys)
        groups = (
            "weak, strong alliance before" if row.topic == "after_event" else ", ".join(event_name(data, name).lower() for name in names)
        )
        how = "rows of all sites" if model is not None and model.method == ONE_STAGE else "pooled"
        rows.append(
            (
                Cell(transition_name(data, row)),
                Cell(groups),
                *(number(data, share) for share in shares),
                number(data, row),
                number(data, model),
                Cell(how if model is not None else common.remark(row)),
                common.count_cell(model.n_events if model is not None else row.n_events),
            )
        )
    return Table(
        "interventions-transitions-table",
        "What follows what",
        (
            Column("What"),
            Column("First and second group", wide=True),
            Column(f"Share in the first ({data.level} CI)", True),
            Column("Share in the second", True),
            Column("Odds ratio, counted", True),
            Column("Odds ratio for one client", True),
            Column("The latter from", wide=True),
            Column("Occasions", True),
        ),
        tuple(rows),
        note="Odds ratios: second group over first; above 1: more often in the second. For one client: logit model in which clients "
        "differ.",
        empty="No transition is configured.",
    )


def details(data: ReportData, tables: dict[str, pd.DataFrame]) -> list[Fold]:
    """Return moderation, attention by initial level, stages and treatments, for the reader who opens them."""
    events = common.pooled_rows(tables["events"], alliance_rater=rater(data))
    rows = tuple(
        (Cell(name), number(data, row), common.count_cell(row.n_sites), common.count_cell(row.n_clients))
        for row in common.tuples(events)
        for name in (_dependence(data, row),)
        if name and common.has_number(row)
    )
    if not rows:
        return []
    heads = (Column("What"), Column(f"Estimate ({data.level} CI)", True), Column("Sites", True), Column("Clients", True))
    caption = "Products with a moderator, attention by initial alliance, and the next alliance by stage and treatment"
    table = Table("interventions-dependence", caption, heads, rows)
    return [Fold("interventions-details", "What effects depend on: session, treatment, alliance at first", (table,))]


def _dependence(data: ReportData, row: Any) -> str:
    """Return what a row tells of what effects depend on; empty where it tells something else, or what follows from other rows."""
    name = event_name(data, row.event)
    if row.topic == "moderation" and row.term == "event x moderator":
        where = " (client’s mean)" if row.part == "across_levels" else ""
        return f"{name} × {common.words(row.moderator).lower()}{where}: next {row.explained}"
    if row.topic == "complementarity":
        return f"{name}: {numbers.typeset(row.term)}"
    if row.topic == "initially_poor" and not row.term.endswith(("as observed", "beyond noise")):
        return common.words(row.term)
    closely = {*section(data)["curvilinear"], section(data)["transitions"]["after"]}
    within = row.topic == "frequency" and row.explained == "alliance" and row.part == WITHIN and row.compared_with == "all_sessions"
    if within and row.event in closely and (row.treatment or row.window != section(data)["window"]):
        return f"{name}, {row.treatment or common.words(row.window).lower()}"
    return ""


def site_rows(data: ReportData) -> pd.DataFrame:
    """Return the rows of the pages of the sites: every event and the next alliance, within clients."""
    keys = {"topic": "frequency", "explained": "alliance", "part": WITHIN, "compared_with": "all_sessions", "treatment": ""}
    return common.select(data.tables[QUESTION]["events"], window=section(data)["window"], alliance_rater=rater(data), **keys)


def curve_words(term: str) -> str:
    """Return a term of the curve of an amount in words."""
    return term.replace("_", " ").replace("inverted u", "inverted U")


def missing(data: ReportData, tables: dict[str, pd.DataFrame]) -> tuple[str, ...]:
    """Return what could not be estimated and what it needs."""
    names = {
        "events": lambda row: f"{event_name(data, row.event)} ({row.topic.replace('_', ' ')})",
        "curvilinear": lambda row: f"{event_name(data, row.event)}, {row.part.replace('_', ' ')}: {curve_words(row.term)}",
        "transitions": lambda row: transition_name(data, row),
    }
    return tuple(sentence for table, name in names.items() for sentence in common.not_estimable(data, tables[table], name))
