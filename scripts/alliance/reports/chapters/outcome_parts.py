"""Parts of the chapter on alliance and outcome: who rated, when, at which level, for whom."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from alliance.reports import figures, figures_outcome, numbers
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Column, Figure, Part, Table, listed
from alliance.reports.figures import ForestRow
from alliance.reports.figures_outcome import Series, Square
from alliance.reports.inputs import ReportData

Blocks = list[Table | Figure | Part]
RATERS = ("client", "therapist", "observer")
PHASES = ("early", "middle", "late", "averaged")
SESSIONS = {"as_rated": "all ratings of a phase", "equalised": "equal number of ratings"}
PARTS = {
    "within_client": "Within clients, from session to session",
    "between_client": "Between clients of a therapist",
    "between_therapist": "Between therapists",
    "between_site": "Between sites",
}
SHORT_PARTS = {**PARTS, "within_client": "Within clients", "between_client": "Between clients"}
METHODS = {
    "one_stage": "one model over all rows",
    "meta_regression": "regression over sites",
    "two_stage_reml": "pooled site estimates",
    "two_stage_dersimonian_laird": "pooled site estimates",
    "two_stage_paule_mandel": "pooled site estimates",
    "two_stage_fixed": "pooled site estimates",
}
DECISIONS = {
    "equivalent": "too small to matter",
    "different": "different",
    "equivalent_and_different": "different, yet too small to matter",
    "undecided": "neither a difference nor its absence is shown",
}
WHERE = {"within_clients": "same clients", "within_sites": "within sites", "between_sites": "between sites"}
REVIEW_NOTE = "The review’s figures are rounded means of other studies and of other forms of the outcome."


def minus(contrast: str) -> str:
    """Return a contrast as it is read: ``early - late`` becomes ``early minus late``."""
    return contrast.replace(" - ", " minus ").replace("_", " ")


def value(data: ReportData, row: Any) -> str:
    """Return an estimate with its interval as printed."""
    return f"{common.estimate_text(row, data.decimals)}, {data.level} CI {common.interval_text(row, data.decimals)}"


def outcome_of_raters(data: ReportData, tables: dict[str, pd.DataFrame]) -> tuple[str, str]:
    """Return the outcome instrument that most raters rated, and its scale; the first of the configuration where several have as many."""
    chosen = matrix_rows(data, tables["pooled"])
    chosen = chosen[~chosen["outcome_instrument"].str.startswith("(") & chosen["status"].isin(common.WITH_NUMBERS)]
    if chosen.empty:
        return "", ""
    outcome = data.options["outcome"]
    order = [*outcome["instruments"], *(outcome[kind]["instrument"] for kind in ("tailored", "broad") if outcome.get(kind))]
    counts = chosen.groupby(["outcome_instrument", "outcome_scale"], sort=True)["outcome_rater"].nunique()
    return max(counts.index, key=lambda key: (counts[key], -order.index(key[0]) if key[0] in order else -len(order)))


def matrix_rows(data: ReportData, pooled: pd.DataFrame) -> pd.DataFrame:
    """Return the pooled effects of the preferred alliance measure of every rater with every outcome, in window and form of the headline."""
    alliance, outcome = data.options["alliance"], data.options["outcome"]
    keys = {"alliance_instrument": "(preferred)", "alliance_scale": alliance["scale"], "window": alliance["window"]}
    chosen = common.pooled_rows(pooled, **keys, form=outcome["form"], timepoint=outcome["timepoint"], coding="as_estimated")
    return chosen[chosen["estimate_type"] != "share"]


def rater_contrasts(data: ReportData, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the pooled contrasts of raters for the outcome of the matrix."""
    instrument, scale = outcome_of_raters(data, tables)
    chosen = common.pooled_rows(tables["raters"], outcome_instrument=instrument, outcome_scale=scale, estimate_type="correlation_contrast")
    same = chosen["contrast"].str.startswith("same rater")
    return pd.concat([chosen[same], chosen[~same]])


def rater_name(row: Any) -> str:
    """Return a contrast of raters in words."""
    return minus(row.contrast) + (f", outcome rated by {row.outcome_rater}" if row.outcome_rater else "")


def _pair(contrast: str) -> str:
    return contrast.partition("(")[2].rstrip(")")


def raters(data: ReportData, tables: dict[str, pd.DataFrame]) -> Blocks:
    """Return who rates what: the matrix of raters, and their contrasts on the same clients."""
    instrument, scale = outcome_of_raters(data, tables)
    contrasts = rater_contrasts(data, tables)
    if not instrument:
        return []
    same = [(_pair(row.contrast), row) for row in common.tuples(contrasts) if row.contrast.startswith("same rater")]
    against = [
        (f"outcome by the {row.outcome_rater}", row) for row in common.tuples(contrasts) if row.contrast == "client - therapist alliance"
    ]
    sentences = (
        common.contrast_list(data, "Same rater of alliance and outcome minus crossed raters, on the same clients", same),
        common.contrast_list(data, "Client-rated minus therapist-rated alliance, on the same clients", against),
    )
    rows = tuple((Cell(rater_name(row)), *common.estimate_cells(data, row)) for row in common.tuples(contrasts))
    table = Table(
        id="rater-contrasts",
        caption=f"Contrasts of raters, outcome {common.measure(instrument, scale)}",
        columns=(Column("Contrast", wide=True), *common.estimate_columns(data, "Difference of r")),
        rows=rows,
        note="Each contrast on the clients who have all its ratings, so raters are compared on the same people. Other outcomes: "
        "tables/alliance_outcome/raters.csv.",
        empty="No site has ratings of several raters of the same clients.",
    )
    return [
        Part("outcome-raters", "Who rates what", tuple(sentence for sentence in sentences if sentence)),
        matrix_figure(data, tables, instrument, scale),
        table,
    ]


def matrix_figure(data: ReportData, tables: dict[str, pd.DataFrame], instrument: str, scale: str) -> Figure:
    """Return the matrix of raters."""
    chosen = common.select(matrix_rows(data, tables["pooled"]), outcome_instrument=instrument, outcome_scale=scale)
    found = {(row.alliance_rater, row.outcome_rater): row for row in common.tuples(chosen) if common.has_number(row)}
    down = [rater for rater in RATERS if any(rater == key[0] for key in found)]
    across = [rater for rater in RATERS if any(rater == key[1] for key in found)]
    squares = [
        [
            Square(found[key].estimate, common.interval_text(found[key], data.decimals), a == b) if (key := (a, b)) in found else Square()
            for b in across
        ]
        for a in down
    ]
    arguments = {
        "row_title": "Alliance by",
        "column_title": f"Outcome ({common.measure(instrument, scale)}) rated by",
        "mark": "same rater of both: holds shared perception (halo)",
        "decimals": data.decimals,
    }
    told = "; ".join(
        f"alliance by {a}, outcome by {b} {common.estimate_text(row, data.decimals)}{' (same rater)' if a == b else ''}"
        for (a, b), row in sorted(found.items(), key=lambda item: (RATERS.index(item[0][0]), RATERS.index(item[0][1])))
    )
    rows = tuple(
        (Cell(row.alliance_rater), Cell(row.outcome_rater), Cell(row.same_rater), *common.estimate_cells(data, row))
        for row in common.tuples(chosen)
    )
    columns = (Column("Alliance rated by"), Column("Outcome rated by"), Column("Same rater"), *common.estimate_columns(data, "r"))
    return Figure(
        id="rater-matrix",
        title=f"Alliance and outcome ({common.measure(instrument, scale)}) by rater, pooled over sites",
        alt=f"Matrix of pooled correlations with {common.measure(instrument, scale)}: {told}.",
        svg=figures_outcome.rater_matrix(down, across, squares, **arguments),
        narrow=figures_outcome.rater_matrix(down, across, squares, **arguments, narrow=True),
        note=f"Correlation with its {data.level} interval; every square uses all clients who have its two ratings. "
        "The outcome is the one that most raters rated; the headline may rest on another.",
        data=Table("rater-matrix-data", f"Alliance and outcome ({common.measure(instrument, scale)}) by rater", columns, rows),
    )


def timing(data: ReportData, table: pd.DataFrame) -> Blocks:
    """Return when the alliance was measured: the curve over phases, and the contrasts of phases on the same clients."""
    pooled = common.pooled_rows(table)
    levels, contrasts = pooled[pooled["contrast"] == ""], pooled[pooled["contrast"] != ""]
    series, phases = [], [phase for phase in PHASES if phase in set(levels.loc[levels["status"].isin(common.WITH_NUMBERS), "phase"])]
    told = []
    for sessions, label in SESSIONS.items():
        by_phase = {row.phase: row for row in common.tuples(common.select(levels, sessions=sessions)) if common.has_number(row)}
        if not by_phase:
            continue
        columns = {
            name: [getattr(by_phase.get(p), name, math.nan) for p in phases] for name in ("estimate", "ci_low", "ci_high", "published")
        }
        series.append(
            Series(
                label, columns["estimate"], columns["ci_low"], columns["ci_high"], columns["published"] if sessions == "as_rated" else ()
            )
        )
        shown = ", ".join(f"{phase} {common.estimate_text(by_phase[phase], data.decimals)}" for phase in phases if phase in by_phase)
        told.append(f"{label}: {shown}")
    if not series:
        return []
    sentences = []
    for contrast in ("early - late", "early and late - middle"):
        named = [(SESSIONS.get(row.sessions, row.sessions), row) for row in common.tuples(common.select(contrasts, contrast=contrast))]
        sentences.append(common.contrast_list(data, f"{common.words(minus(contrast))} alliance", named))
    sentences = [sentence for sentence in sentences if sentence]
    arguments = {"axis": "Correlation of the alliance with the outcome"}
    rows = tuple(
        (Cell(minus(row.contrast)), Cell(SESSIONS.get(row.sessions, row.sessions)), *common.estimate_cells(data, row))
        for row in common.tuples(contrasts.sort_values("sessions", kind="stable"))
    )
    data_rows = tuple(
        (Cell(row.phase), Cell(SESSIONS.get(row.sessions, row.sessions)), *common.estimate_cells(data, row))
        for row in common.tuples(levels)
    )
    kinds = (Column("Phase"), Column("Ratings"))
    return [
        Part("outcome-timing", "When the alliance is measured", tuple(sentences)),
        Figure(
            id="timing-curve",
            title="Alliance and outcome by phase of treatment, pooled over sites",
            alt=f"Curve of pooled correlations by phase; {'; '.join(told)}. {' '.join(sentences)}".strip(),
            svg=figures_outcome.phase_curve(phases, series, **arguments),
            narrow=figures_outcome.phase_curve(phases, series, **arguments, narrow=True),
            note=f"Lines are {data.level} intervals. More ratings make a more reliable average; with an equal number, phases can be "
            f"compared (fewer clients have them). {REVIEW_NOTE}",
            data=Table("timing-data", "Correlation by phase", (*kinds, *common.estimate_columns(data, "r")), data_rows),
        ),
        Table(
            id="timing-contrasts",
            caption="Phases compared on the same clients",
            columns=(Column("Contrast"), Column("Ratings"), *common.estimate_columns(data, "Difference of r")),
            rows=rows,
        ),
    ]


def best_method(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one model over all rows where it was fitted, and those of pooled sites elsewhere."""
    one = rows[(rows["method"] == "one_stage") & rows["status"].isin(common.WITH_NUMBERS)]
    return one if len(one) else rows


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Return coefficients from within clients to between therapists, then the differences of levels."""
    place = {part: number for number, part in enumerate(PARTS)}
    keys = rows["part"].map(place).fillna(len(place)) + len(place) * rows["contrast"].ne("")
    return rows.loc[keys.sort_values(kind="stable").index]


def level_name(row: Any) -> str:
    """Return a coefficient by level in words."""
    if not row.contrast:
        return PARTS.get(row.part, row.part)
    outer, _, inner = row.contrast.partition(" - ")
    return f"{SHORT_PARTS.get(outer, outer)} minus {SHORT_PARTS.get(inner, inner).lower()}"


def levels(data: ReportData, table: pd.DataFrame) -> Blocks:
    """Return whose alliance matters: coefficients by level, contextual effects, shares of variance."""
    pooled = common.pooled_rows(table)
    slopes = pooled[pooled["estimate_type"].isin(("slope_standardised", "slope_contrast"))]
    drawn: list[ForestRow] = []
    told = []
    sentences = []
    for (explained,), group in common.rows_by(slopes, ("explained",)):
        best = best_method(group)
        drawn.append(ForestRow(common.words(explained), kind="heading"))
        for row in common.tuples(in_order(best)):
            kind = "pooled" if row.contrast else "estimate"
            drawn.append(common.pooled_forest_row(row, level_label(row), published=False, kind=kind))
        known = {row.contrast or row.part: row for row in common.tuples(in_order(best)) if common.has_number(row)}
        shown = [f"{level_name(row).lower()} {value(data, row)}" for row in known.values() if not row.contrast]
        if shown:
            told.append(f"{explained}: {'; '.join(shown)}")
        sentences += whose_sentences(data, explained, known)
    sentences += reliability_sentences(data, pooled)
    if not any(numbers.known(row.estimate) for row in drawn):
        return []
    ends = [end for row in drawn for end in (row.low, row.high) if numbers.known(end)]
    arguments = {
        "axis": "Standardised coefficient of the alliance",
        "decimals": data.decimals,
        "bound": max(map(abs, ends), default=0) <= 1,
    }
    rows = tuple(
        (
            Cell(common.words(row.explained)),
            Cell(level_name(row)),
            Cell(METHODS.get(row.method, numbers.UNKNOWN)),
            *common.estimate_cells(data, row),
        )
        for row in common.tuples(in_order(slopes).sort_values("explained", kind="stable"))
    )
    columns = (Column("Explained"), Column("Part of the alliance"), Column("Method"), *common.estimate_columns(data, "β"))
    return [
        Part("outcome-levels", "Whose alliance matters", tuple(sentences)),
        Figure(
            id="level-coefficients",
            title="The alliance within clients, between clients and between therapists",
            alt=f"Dot plot of standardised coefficients with {data.level} intervals. {'. '.join(told)}.",
            svg=figures.forest(drawn, **arguments),
            narrow=figures.forest(drawn, **arguments, narrow=True),
            note=f"Squares are coefficients, diamonds differences of two levels (contextual effects); lines are {data.level} intervals. "
            "Outcome and symptoms are turned so that higher is better.",
            data=Table("level-coefficients-data", "Coefficients of the alliance by level", columns, rows),
        ),
        *share_figure(data, pooled),
    ]


def level_label(row: Any) -> str:
    """Return a coefficient by level in few words, for a figure."""
    if not row.contrast:
        return SHORT_PARTS.get(row.part, row.part)
    outer, _, inner = (part.replace("between_", "").replace("within_client", "within") for part in row.contrast.partition(" - "))
    return f"{common.words(outer)}s minus {inner if inner == 'within' else inner + 's'}"


def whose_sentences(data: ReportData, explained: str, known: dict[str, Any]) -> list[str]:
    """Return at which levels a better alliance goes with better scores, and whether the levels can be told apart."""
    said: dict[str, list[str]] = {}
    for name in PARTS:
        row = known.get(name)
        if row is None or not (numbers.known(row.ci_low) and numbers.known(row.ci_high)):
            continue
        state = "better" if row.ci_low > 0 else "worse" if row.ci_high < 0 else "open"
        said.setdefault(state, []).append(f"{PARTS[name].lower()} (β{numbers.SPACE}={numbers.SPACE}{value(data, row)})")
    if not said:
        return []
    told = [f"a better alliance goes with {state} scores {listed(said[state])}" for state in ("better", "worse") if state in said]
    if "open" in said:
        told.append(f"neither a relation nor its absence is shown {listed(said['open'])}")
    sentences = [f"{common.words(explained)}: {'; '.join(told)}."]
    for contrast, row in known.items():
        if contrast in PARTS or not numbers.known(row.ci_low):
            continue
        outer, _, inner = (SHORT_PARTS.get(part, part).lower() for part in contrast.partition(" - "))
        if row.ci_low > 0:
            verdict = f"The coefficient {outer} is larger than {inner}"
        elif row.ci_high < 0:
            verdict = f"The coefficient {outer} is smaller than {inner}"
        else:
            verdict = f"Whether it matters more {outer} or {inner} cannot be told"
        sentences.append(f"{verdict} (difference {value(data, row)}).")
    return [" ".join(sentences)]


def reliability_sentences(data: ReportData, pooled: pd.DataFrame) -> list[str]:
    """Return how reliable the mean of a therapist’s clients is."""
    told = []
    for row in common.tuples(common.select(pooled, estimate_type="reliability_of_means")):
        if common.has_number(row):
            caution = f" ({row.reason.partition(';')[0]})" if row.reason else ""
            shown = common.estimate_text(row, data.decimals)
            told.append(f"The {row.part} has a reliability of {shown} at the median therapist{caution}.")
    return told


def share_figure(data: ReportData, pooled: pd.DataFrame) -> list[Figure]:
    """Return the shares of variance by level as stacked bars."""
    chosen = common.select(pooled, estimate_type="variance_share")
    known = {(row.explained, row.part): row.estimate for row in common.tuples(chosen) if common.has_number(row)}
    if not known:
        return []
    bars = list(dict.fromkeys(explained for explained, _ in known))
    parts = [part for part in ("therapist", "client", "session") if any(part == key[1] for key in known)]
    shares = [[known.get((bar, part), math.nan) for part in parts] for bar in bars]
    names = {"therapist": "between therapists", "client": "between clients", "session": "between sessions"}
    labels = [common.words(bar) for bar in bars]
    told = "; ".join(
        f"{bar}: " + ", ".join(f"{part} {numbers.percent(known[bar, part])}" for part in parts if (bar, part) in known) for bar in bars
    )
    rows = tuple(
        (Cell(common.words(row.explained)), Cell(names.get(row.part, row.part)), *common.estimate_cells(data, row))
        for row in common.tuples(chosen)
    )
    drawn = labels, [names[part] for part in parts], shares
    return [
        Figure(
            id="variance-shares",
            title="Where alliance and outcome differ: shares of variance by level",
            alt=f"Stacked bars of shares of variance. {told}.",
            svg=figures_outcome.stacked_shares(*drawn),
            narrow=figures_outcome.stacked_shares(*drawn, narrow=True),
            note="Differences between sites are taken out first. Intervals stand in the data of the figure.",
            data=Table(
                "variance-shares-data", "Shares of variance", (Column("Of"), Column("Lies"), *common.estimate_columns(data, "Share")), rows
            ),
        )
    ]


def moderator_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the pooled contrasts and slopes, and the two kinds of outcome; not the correlation in every single group."""
    pooled = common.pooled_rows(table)
    alone = pooled["contrast"].eq("") & pooled["moderator"].ne("kind_of_outcome") & pooled["estimate_type"].ne("slope_on_moderator")
    kept = pooled[~alone]
    first = kept["moderator"].eq("kind_of_outcome")
    place = {where: number for number, where in enumerate(WHERE)}
    others = kept[~first].sort_values("where", key=lambda column: column.map(place), kind="stable")
    return pd.concat([kept[first].sort_values("contrast", kind="stable"), others])


def moderator_name(row: Any) -> str:
    """Return what a row of the moderators compares, in words."""
    subject = common.words(row.moderator)
    if row.contrast == "alliance x moderator":
        return f"{subject}: change of the slope per SD ({row.group.replace('_', ' ')})"
    if row.contrast.endswith(" (outcome)"):
        return f"{subject}: outcome itself, {minus(row.contrast.removesuffix(' (outcome)'))} (SD)"
    if row.contrast:
        return f"{subject}: {minus(row.contrast)}"
    return f"{subject}: {row.group.replace('_', ' ')}"


def decision_words(row: Any) -> str:
    """Return what the test of a difference and of its absence say together, in words."""
    return DECISIONS.get(row.decision, "")


def _short(decision: str) -> str:
    return decision if decision == "undecided" else DECISIONS.get(decision, "")


def moderators(data: ReportData, table: pd.DataFrame) -> Blocks:
    """Return for whom and for what: contrasts within clients and sites with the test of equivalence, slopes between sites."""
    chosen = moderator_rows(table)
    if chosen.empty:
        return []
    bound = numbers.bounded(data.options["questions"]["alliance_outcome"]["equivalence_bound"], data.decimals)
    sentences = []
    for row in common.tuples(chosen):
        if common.has_number(row) and row.decision and row.where != "between_sites":
            told = f"{moderator_name(row)}, {value(data, row)}: {decision_words(row)}"
            against = f" (the review: {numbers.bounded(row.published, data.decimals)})" if numbers.known(row.published) else ""
            sentences.append(f"{told}{against}.")
    if any(common.select(chosen, where="between_sites")["status"].isin(common.WITH_NUMBERS)):
        sentences.append("Slopes between sites compare sites, not clients; with few sites they only describe.")
    rows = tuple(
        (Cell(moderator_name(row)), Cell(WHERE.get(row.where, row.where)), Cell(_short(row.decision)), *common.estimate_cells(data, row))
        for row in common.tuples(chosen)
    )
    return [
        Part("outcome-moderators", "For whom and for what", tuple(sentences)),
        Table(
            id="moderators",
            caption="What the correlation depends on, pooled over sites",
            columns=(
                Column("What", wide=True),
                Column("Compared"),
                Column("What the test says", optional=True),
                *common.estimate_columns(data, "Estimate"),
            ),
            rows=rows,
            note=f"A difference counts as too small to matter where it is shown to lie within ±{bound} (two one-sided tests); that a test "
            f"found no difference is no proof that there is none. Undecided: neither is shown. {REVIEW_NOTE} "
            "Correlations in every group: tables/alliance_outcome/moderators.csv.",
        ),
    ]


def benchmark_name(data: ReportData, tables: dict[str, pd.DataFrame], table: str, row: Any) -> str:
    """Return what a published figure is about; empty for rows of measures that the chapter does not show."""
    if table == "raters":
        return common.words(rater_name(row)) if (row.outcome_instrument, row.outcome_scale) == outcome_of_raters(data, tables) else ""
    if table == "timing":
        name = f"{row.phase} alliance" if row.phase else f"{minus(row.contrast)} alliance"
        return f"{common.words(name)}, {SESSIONS[row.sessions]}"
    if table == "eligibility":
        return "Headline, sites that meet all five criteria of 1991"
    return moderator_name(row)


def named_rows(data: ReportData, tables: dict[str, pd.DataFrame]) -> list[tuple[Any, str]]:
    """Return the pooled rows that the parts show, with their names."""
    named = [(row, f"Raters, {rater_name(row)}") for row in common.tuples(rater_contrasts(data, tables))]
    for row in common.tuples(common.pooled_rows(tables["timing"])):
        named.append((row, f"Timing, {minus(row.contrast) or row.phase}, {SESSIONS.get(row.sessions, row.sessions)}"))
    for (explained, _), group in common.rows_by(common.pooled_rows(tables["levels"]), ("explained", "estimate_type")):
        named += [(row, f"{common.words(explained)}, {level_name(row).lower()}") for row in common.tuples(best_method(group))]
    return [*named, *((row, moderator_name(row)) for row in common.tuples(moderator_rows(tables["moderators"])))]
