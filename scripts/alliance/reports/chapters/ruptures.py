"""Ruptures and repairs: what each criterion sees beside noise, how far criteria agree, and what follows from ruptures."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from alliance.questions.ruptures import criteria as counted
from alliance.questions.ruptures import outcome as outcomes
from alliance.reports import figures_ruptures, numbers
from alliance.reports.chapters import common, published
from alliance.reports.elements import Cell, Chapter, Column, Figure, Fold, Table, listed, number_cell
from alliance.reports.figures_ruptures import Beside
from alliance.reports.inputs import ReportData

QUESTION = "ruptures"
NOISE = {"shuffled": "Random order", "autoregressive": "Noise"}
MEANT = {
    "drop": "a fall from one session to the next",
    "reliable_drop": "a fall larger than error of measurement",
    "decline": "a fall over one or more sessions",
    "v_shape": "a fall that is made up for soon after",
    "control_chart": "a rating far below the client’s own mean",
    "self_report": "what clients or therapists report",
    "observed": "what observers code",
}
"""What each rule takes for a rupture, in a few words."""
TOPICS = {
    outcomes.PATTERN: "Repaired, unrepaired, none",
    outcomes.DAMAGE: "Early and late",
    outcomes.SEVERITY: "Depth and length (clients with ruptures)",
    outcomes.NUMBER: "Number per ten sessions",
    outcomes.COASTING: "Level and variability",
}
AT_THE_END = {"unrepaired": "counts as unrepaired", "left_out": "is left out"}
LIMITS = (
    "No criterion is the right one. Ratings fall by chance too: a criterion that sees no more than noise gives cannot tell ruptures.",
    "An alliance that falls because treatment goes badly looks like a rupture with a bad outcome; who repairs is not chosen at random.",
    "Ratings after each session see only what clients notice and are willing to rate; observers see other things.",
    "A low rating tends to be followed by a higher one by chance alone, so that some repairs are regression to the mean.",
)


def build(data: ReportData) -> Chapter:
    """Return the chapter on ruptures and repairs."""
    tables = common.tables_of(data, QUESTION)
    lead = row_of(tables["criteria"], criterion=headline_criterion(data), statistic=counted.WITH_RUPTURE)
    return Chapter(
        id="ruptures",
        title="Ruptures and their repair",
        question="How often does the alliance rupture, do criteria agree, and does it matter whether a rupture is repaired?",
        sources=(QUESTION,),
        headlines=(headline(data, tables, lead),) if lead is not None else (),
        findings=tuple(sentence for sentence in findings(data, tables) if sentence),
        blocks=(
            *noise_panel(data, tables),
            pattern_table(data, tables["outcome"]),
            Fold(
                id="ruptures-more",
                title="Agreement of criteria, depth, length and repair, two damage times, coasting",
                blocks=(
                    agreement_table(data, tables["agreement"]),
                    criteria_table(data, tables["criteria"]),
                    further_table(data, tables["outcome"]),
                ),
            ),
            *published.tables(data, QUESTION, lambda table, row: benchmark_name(data, table, row)),
        ),
        limits=LIMITS,
        missing=common.not_estimable(data, tables["criteria"][tables["criteria"]["statistic"].eq(counted.WITH_RUPTURE)], criterion_name),
    )


def headline_criterion(data: ReportData) -> str:
    """Return the criterion of the headline numbers."""
    return str(data.options["questions"][QUESTION]["headline"])


def held(data: ReportData) -> str:
    """Return what is held constant in the headline numbers."""
    return str(data.options["questions"][QUESTION]["covariates"])


def row_of(table: pd.DataFrame, **keys: str) -> Any:
    """Return the pooled row of some keys; None where it has no number."""
    rows = [row for row in common.tuples(common.pooled_rows(table, **keys)) if common.has_number(row)]
    return rows[0] if rows else None


def name_of(criterion: str) -> str:
    """Return a criterion in words."""
    return common.words(criterion)


def criterion_name(row: Any) -> str:
    """Return the criterion of a row in words."""
    return name_of(row.criterion)


def noise_of(table: pd.DataFrame, criterion: str, unit: str, statistic: str = "noise") -> dict[str, Any]:
    """Return the pooled rows of both kinds of noise by kind."""
    found = {kind: row_of(table, criterion=criterion, surrogates=kind, unit=unit, statistic=statistic) for kind in NOISE}
    return {kind: row for kind, row in found.items() if row is not None}


def between(shares: list[float]) -> str:
    """Return the range of some shares in percent."""
    low, high = numbers.percent(min(shares)), numbers.percent(max(shares))
    return low if low == high else f"{low} to {high}"


def headline(data: ReportData, tables: dict[str, pd.DataFrame], lead: Any) -> str:
    """Return the share of clients with a rupture beside noise, in one sentence."""
    text = f"By the criterion “{name_of(lead.criterion).lower()}”, {common.value(data, lead)} of clients have at least one rupture"
    noise = noise_of(tables["base_rates"], lead.criterion, counted.CLIENTS)
    if noise:
        text += f"; noise alone would give {between([row.estimate for row in noise.values()])}"
    return f"{text} ({common.plural(lead.n_sites, 'site')})."


def findings(data: ReportData, tables: dict[str, pd.DataFrame]) -> list[str]:
    """Return what was found, in sentences."""
    return [
        share_sentence(tables["criteria"]),
        noise_sentence(tables["base_rates"]),
        agreement_sentence(data, tables["agreement"]),
        detection_sentence(data, tables),
        outcome_sentence(data, tables["outcome"]),
        dropout_sentence(data, tables["outcome"]),
        damage_sentence(data, tables["outcome"]),
        coasting_sentence(data, tables["outcome"]),
    ]


def share_sentence(criteria: pd.DataFrame) -> str:
    """Return the range of shares over criteria."""
    every = common.pooled_rows(criteria, statistic=counted.WITH_RUPTURE)
    rows = [row for row in common.tuples(every) if common.has_number(row)]
    if len(rows) < 2:
        return ""
    ordered = sorted(rows, key=lambda row: row.estimate)
    first, last = ordered[0], ordered[-1]
    ends = [f"{numbers.percent(row.estimate)} ({name_of(row.criterion).lower()}: {MEANT[row.rule]})" for row in (first, last)]
    lead = f"The share of clients with at least one rupture depends on the criterion{common.more_withheld(every)}"
    return f"{lead}: from {ends[0]} to {ends[1]}."


def noise_sentence(base_rates: pd.DataFrame) -> str:
    """Return which criteria see more ruptures than noise of either kind gives."""
    more, no_more = [], []
    for criterion in dict.fromkeys(base_rates["criterion"]):
        excess = noise_of(base_rates, criterion, counted.SESSIONS, "excess")
        if excess:
            clear = all(numbers.known(row.ci_low) and row.ci_low > 0 for row in excess.values())
            (more if clear else no_more).append(name_of(criterion).lower())
    if not more and not no_more:
        return ""
    first = (
        f"In sessions, {listed(more)} see{'s' if len(more) == 1 else ''} more ruptures than either kind of noise gives. " if more else ""
    )
    excess = common.pooled_rows(base_rates, unit=counted.SESSIONS, statistic="excess")
    silent = common.more_withheld(excess.drop_duplicates(["criterion", "status"]))
    rest = f"By {listed(no_more)}, ruptures are not clearly more frequent than in noise{silent}." if no_more else ""
    return f"{first}{rest}".strip()


def agreement_sentence(data: ReportData, agreement: pd.DataFrame) -> str:
    """Return the range of kappa between criteria about sessions."""
    rows = common.pooled_rows(agreement, unit=counted.SESSIONS, statistic="kappa")
    parts = []
    for same, who in (("yes", "of one rater’s ratings"), ("no", "of different raters")):
        pairs = common.select(rows, same_rater=same)
        own = [row.estimate for row in common.tuples(pairs) if common.has_number(row)]
        if own:
            low, high = (numbers.bounded(end, data.decimals) for end in (min(own), max(own)))
            parts.append(f"kappa = {low}{f' to {high}' if low != high else ''} between criteria {who}{common.more_withheld(pairs)}")
    return f"About single sessions criteria agree by {'; '.join(parts)} (1: always, 0: as often as by chance)." if parts else ""


def _dropouts(data: ReportData, row: Any) -> str:
    known = numbers.known(row.n_events) or not data.withholds
    return common.plural(row.n_events, "dropout") if known else "the number of dropouts is withheld"


def by_chance(data: ReportData, criteria: pd.DataFrame, criterion: str) -> str:
    """Return how often a criterion would see a rupture near any session if it saw them at random, in words."""
    row = row_of(criteria, criterion=criterion, statistic=counted.OF_SESSIONS)
    if row is None:
        return ""
    sessions = 2 * data.options["questions"][QUESTION]["match_within"] + 1
    return f"; by chance about {numbers.percent(1 - (1 - row.estimate) ** sessions)}"


def detection_sentence(data: ReportData, tables: dict[str, pd.DataFrame]) -> str:
    """Return how many of the ruptures that observers coded the headline's criterion sees too, and the other way round."""
    lead, agreement = headline_criterion(data), tables["agreement"]
    coded = [name for name, rule in data.options["questions"][QUESTION]["criteria"].items() if rule["rule"] == "observed" and name != lead]
    parts = []
    for other in coded:
        seen = row_of(agreement, criterion=other, compared_with=lead, statistic="also seen")
        reverse = row_of(agreement, criterion=lead, compared_with=other, statistic="also seen")
        if seen is not None:
            parts.append(
                f"of the ruptures that observers coded, the client’s ratings show {common.value(data, seen)} "
                f"({name_of(lead).lower()}{by_chance(data, tables['criteria'], lead)})"
            )
        if reverse is not None:
            chance = by_chance(data, tables["criteria"], other).replace(";", ",")
            parts.append(f"of those that the ratings show, observers coded {common.value(data, reverse)}{chance}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def outcome_sentence(data: ReportData, outcome: pd.DataFrame) -> str:
    """Return the outcome after repaired, unrepaired and no ruptures by the headline's criterion."""
    keys = {"criterion": headline_criterion(data), "outcome": outcomes.OUTCOME, "topic": outcomes.PATTERN, "covariates": held(data)}
    named = [(term, row_of(outcome, **keys, term=term)) for term in outcomes.PATTERNS]
    return common.contrast_list(
        data,
        f"Outcome at the same {held(data)}, in SD (positive: better; {name_of(keys['criterion']).lower()})",
        [(term.replace(" - ", " against "), row) for term, row in named if row is not None],
    )


def dropout_sentence(data: ReportData, outcome: pd.DataFrame) -> str:
    """Return what an open rupture goes with after a session."""
    keys = {"criterion": headline_criterion(data), "outcome": outcomes.DROPOUT, "topic": outcomes.PATTERN, "covariates": outcomes.INTAKE}
    row = row_of(outcome, **keys, term=outcomes.STATES[0])
    if row is None:
        return ""
    return (
        "Clients in a rupture that is not repaired so far leave after a session with a hazard ratio of "
        f"{common.value(data, row)} against clients without a rupture so far ({_dropouts(data, row)}); "
        f"{common.sureness(row)}."
    )


def damage_sentence(data: ReportData, outcome: pd.DataFrame) -> str:
    """Return the outcome after early and late ruptures."""
    keys = {"criterion": headline_criterion(data), "outcome": outcomes.OUTCOME, "topic": outcomes.DAMAGE, "covariates": held(data)}
    named = [(term, row_of(outcome, **keys, term=term)) for term in outcomes.TIMES]
    until = data.options["questions"][QUESTION]["early_until"]
    return common.contrast_list(
        data,
        f"Two damage times, up to session {until} and later, outcome in SD (against clients without a rupture then)",
        [(term.replace(" - ", " against "), row) for term, row in named if row is not None],
    )


def coasting_sentence(data: ReportData, outcome: pd.DataFrame) -> str:
    """Return whether a flat, very high alliance goes with a worse outcome."""
    row = row_of(outcome, criterion="", topic=outcomes.COASTING, term=outcomes.FLAT_AND_HIGH, covariates=held(data))
    bend = row_of(outcome, criterion="", topic=outcomes.COASTING, term="level squared", covariates=held(data))
    if row is None:
        return ""
    text = (
        "Coasting: where the alliance is one SD above average, the outcome expected of clients with a flat alliance (one SD less variable) "
        f"differs from that at usual variability by {common.value(data, row)} SD; {common.sureness(row)}"
    )
    if bend is None:
        return f"{text}."
    words = (
        "A higher alliance brings less and less the higher it already is"
        if bend.ci_high < 0
        else "A higher alliance brings more and more the higher it already is"
        if bend.ci_low > 0
        else "That a higher alliance brings less the higher it already is, is not shown"
    )
    return f"{text}. {words} (squared term {common.value(data, bend)}).{_two_lines_told(data, outcome)}"


def _two_lines_told(data: ReportData, outcome: pd.DataFrame) -> str:
    """Return whether the outcome falls again beyond some level of the alliance, by both pooled lines; empty where they lack."""
    keys = {"criterion": "", "topic": outcomes.COASTING, "covariates": held(data)}
    lines = [row_of(outcome, **keys, term=term) for term in outcomes.LINES]
    if any(row is None or not numbers.known(row.ci_low) for row in lines):
        return ""
    turns = lines[0].ci_low > 0 and lines[1].ci_high < 0
    words = "Beyond some level a higher alliance goes with a worse outcome" if turns else "That the outcome falls again is not shown"
    return f" {words} by the two-lines test (slope below the bend {common.value(data, lines[0])}, above it {common.value(data, lines[1])})."


def noise_panel(data: ReportData, tables: dict[str, pd.DataFrame]) -> list[Figure]:
    """Return the shares of clients with a rupture beside those of noise; none where nothing can be shown."""
    lines, rows, meant = [], [], []
    for row in common.tuples(common.pooled_rows(tables["criteria"], statistic=counted.WITH_RUPTURE)):
        if not common.has_number(row):
            continue
        meant.append(row.rule)
        noise = noise_of(tables["base_rates"], row.criterion, counted.CLIENTS)
        shares = [noise[kind].estimate if kind in noise else math.nan for kind in NOISE]
        lines.append(Beside(name_of(row.criterion), row.estimate, row.ci_low, row.ci_high, shares))
        sessions = row_of(tables["criteria"], criterion=row.criterion, statistic=counted.OF_SESSIONS)
        cells = [Cell(name_of(row.criterion)), number_cell(common.estimate_text(row, 0), row.estimate)]
        cells.append(number_cell(common.interval_text(row, 0), row.ci_low))
        cells += [number_cell(numbers.percent(share), share) for share in shares]
        known = sessions is not None
        cells.append(
            number_cell(
                numbers.percent(sessions.estimate, data.percent_decimals) if known else numbers.UNKNOWN,
                sessions.estimate if known else None,
            )
        )
        cells.append(common.count_cell(row.n_clients))
        rows.append(tuple(cells))
    if not lines:
        return []
    told = "; ".join(f"{line.label} {numbers.percent(line.observed)}" for line in lines)
    return [
        Figure(
            id="ruptures-noise",
            title="Clients with at least one rupture, by criterion, beside noise",
            alt=f"Shares of clients with at least one rupture by criterion, each beside the shares that noise gives. {told}.",
            svg=figures_ruptures.panel(lines, axis="Clients with a rupture", kinds=list(NOISE.values())),
            note=f"Pooled over sites, {data.level} intervals. Random order: the client’s own ratings shuffled. Noise: normal values with "
            "the client’s mean and spread and the site’s autocorrelation. Reports and codes have no base rate of noise. "
            + "; ".join(f"{line.label}: {MEANT[rule]}" for line, rule in zip(lines, meant))
            + ".",
            data=Table(
                id="ruptures-noise-table",
                caption="Clients and sessions with a rupture, and what noise gives of clients",
                columns=(
                    Column("Criterion"),
                    Column("Clients", True),
                    Column(f"{data.level} CI", True),
                    Column("Random order", True),
                    Column("Noise", True),
                    Column("Sessions", True),
                    Column("Clients judged", True),
                ),
                rows=tuple(rows),
            ),
        )
    ]


def pattern_table(data: ReportData, outcome: pd.DataFrame) -> Table:
    """Return the outcome contrasts of all criteria, with early symptoms held constant."""
    chosen = common.pooled_rows(outcome, outcome=outcomes.OUTCOME, topic=outcomes.PATTERN, covariates=held(data))
    return estimates_table(
        data,
        chosen,
        "ruptures-outcome",
        f"Outcome after repaired, unrepaired and no ruptures, at the same {held(data)}",
        "Positive: the first group has the better outcome, in SD of the outcome given what is held constant. A rupture that was not "
        f"followed long enough {AT_THE_END[data.options['questions']['ruptures']['at_the_end']]}. Each contrast is pooled by itself, "
        "so that contrasts of one criterion need not add up.",
    )


def further_table(data: ReportData, outcome: pd.DataFrame) -> Table:
    """Return dropout, damage times, severity and coasting of the headline's criterion."""
    pooled = common.pooled_rows(outcome)
    of_dropout = pooled["outcome"].eq(outcomes.DROPOUT) & pooled["covariates"].eq(outcomes.INTAKE)
    of_outcome = pooled["outcome"].eq(outcomes.OUTCOME) & pooled["covariates"].eq(held(data)) & pooled["topic"].ne(outcomes.PATTERN)
    own = pooled["criterion"].eq(headline_criterion(data)) | pooled["term"].isin(["level squared", outcomes.FLAT_AND_HIGH])
    return estimates_table(
        data,
        pooled[own & (of_dropout | of_outcome)],
        "ruptures-further",
        f"Damage times, depth and length, dropout, coasting ({name_of(headline_criterion(data)).lower()})",
        "Outcome in SD; dropout as hazard ratios of what was known after each session, intake and number of the session held constant.",
        topic=True,
    )


def estimates_table(data: ReportData, chosen: pd.DataFrame, id: str, caption: str, note: str, *, topic: bool = False) -> Table:
    """Return pooled rows that have a number, one a criterion and term."""
    rows = []
    for row in common.tuples(chosen):
        if not common.has_number(row):
            continue
        first = [Cell(TOPICS[row.topic]), Cell("dropout" if row.outcome == outcomes.DROPOUT else "outcome")] if topic else []
        first = first or [Cell(criterion_name(row))]
        rows.append((*first, Cell(row.term.replace(" - ", " against ")), *common.estimate_cells(data, row, pooled=False)))
    columns = (Column("About"), Column("Of")) if topic else (Column("Criterion"),)
    return Table(
        id=id,
        caption=caption,
        columns=(*columns, Column("Contrast or term"), *common.estimate_columns(data, "Estimate", pooled=False)),
        rows=tuple(rows),
        note=note,
        empty="No site, or only one, has enough clients with ruptures of both kinds and without any.",
        folded=True,
    )


def agreement_table(data: ReportData, agreement: pd.DataFrame) -> Table:
    """Return kappa and PABAK of codes and reports with every other criterion."""
    rows = []
    pooled = common.pooled_rows(agreement)
    others = data.options["questions"][QUESTION]["criteria"]
    shown = {name for name, rule in others.items() if rule["rule"] in ("observed", "self_report")}
    for pair in pooled[["criterion", "compared_with"]].drop_duplicates().itertuples(index=False):
        keys = {"criterion": pair.criterion, "compared_with": pair.compared_with}
        if not {pair.criterion, pair.compared_with} & shown:
            continue
        found = [
            row_of(agreement, **keys, unit=unit, statistic=statistic)
            for unit, statistic in ((counted.CLIENTS, "kappa"), (counted.SESSIONS, "kappa"), (counted.SESSIONS, "pabak"))
        ]
        if all(row is None for row in found):
            continue
        cells = [
            number_cell(common.estimate_text(row, data.decimals), row.estimate) if row is not None else Cell(numbers.UNKNOWN, "")
            for row in found
        ]
        rows.append((Cell(name_of(pair.criterion)), Cell(name_of(pair.compared_with)), *cells))
    return Table(
        id="ruptures-agreement",
        caption="Agreement of codes and reports with other criteria, over sites",
        columns=(
            Column("Criterion"),
            Column("With"),
            Column("Kappa, clients", True),
            Column("Kappa, sessions", True),
            Column("PABAK, sessions", True),
        ),
        rows=tuple(rows),
        note="PABAK: twice the share of agreement minus 1; kappa falls where ruptures are rare. "
        "Pairs of criteria of the same ratings stand in the results’ files.",
        empty="No two criteria could be compared.",
    )


def criteria_table(data: ReportData, criteria: pd.DataFrame) -> Table:
    """Return repair, depth and length by criterion."""
    wanted = (counted.OF_RUPTURES, counted.DEPTH, counted.LENGTH)
    rows = []
    for criterion in dict.fromkeys(common.pooled_rows(criteria, statistic=counted.WITH_RUPTURE)["criterion"]):
        found = [row_of(criteria, criterion=criterion, statistic=statistic) for statistic in wanted]
        if any(row is not None for row in found):
            cells = [
                number_cell(common.estimate_text(row, data.decimals), row.estimate) if row is not None else Cell(numbers.UNKNOWN, "")
                for row in found
            ]
            rows.append((Cell(name_of(criterion)), *cells))
    return Table(
        id="ruptures-criteria",
        caption="Repair, depth and length, over sites",
        columns=(
            Column("Criterion"),
            Column("Ruptures repaired", True),
            Column("Depth", True),
            Column("Length (sessions)", True),
        ),
        rows=tuple(rows),
        note="Depth in SD within clients; of reports and codes, their intensity.",
    )


def benchmark_name(data: ReportData, table: str, row: Any) -> str:
    """Return what a published figure is about; empty for rows beside the headline."""
    if table == "criteria":
        return f"Clients with at least one rupture ({criterion_name(row).lower()})"
    if row.criterion not in (headline_criterion(data), "") or (table == "outcome" and row.covariates != held(data)):
        return ""
    if table == "agreement":
        return f"{criterion_name(row)} with {name_of(row.compared_with).lower()}: kappa, {row.unit}" if row.unit == counted.SESSIONS else ""
    if row.topic != outcomes.PATTERN or outcomes.PATTERNS[0] == row.term:
        return ""
    return f"{TOPICS[row.topic]}: {row.term.replace(' - ', ' against ')} ({row.outcome})"


def site_rows(data: ReportData) -> pd.DataFrame:
    """Return the rows that a site's page shows: clients with a rupture by every criterion."""
    criteria = data.tables[QUESTION]["criteria"]
    return criteria[criteria["statistic"].eq(counted.WITH_RUPTURE)]
