"""Who leaves treatment: the alliance, planned endings that compete, definitions side by side, and how well it can be foretold."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd

from alliance.questions.contract import COMPUTED, POOLED
from alliance.reports import figures, figures_dropout, numbers
from alliance.reports.chapters import common, published
from alliance.reports.elements import Cell, Chapter, Column, Figure, Fold, Table, listed, number_cell
from alliance.reports.figures import ForestRow
from alliance.reports.figures_dropout import Curve, Dot
from alliance.reports.inputs import ReportData

QUESTION = "dropout"
FIRST, ONE_STAGE = "alliance_first", "hazard_one_stage"
THIRDS = {"low": "Lowest third", "middle": "Middle third", "high": "Highest third"}
TERMS = {
    FIRST: "Alliance of the first session",
    "alliance_change": "Change of the alliance since the first session",
    "alliance_first_by_session": "Alliance of the first session, with every doubling of the session",
    "intake_severity": "Severity at intake",
    "session_doubled": "Twice as late a session",
    "client_trait": "Client",
    "therapist_trait": "Therapist",
    "client_by_therapist": "Client × therapist",
    "failed": "Phase 1 failed",
    "frailty": "Spread between therapists (SD)",
}
CAUSES = {
    "dropout": "Dropout",
    "planned_ending": "Planned ending",
    "dropout_subdistribution": "Dropout, planned endings stay at risk",
    "outcome": "Outcome given intake (SD)",
}
MODELS = {
    "first_session": "first session",
    "time_varying": "first session and change since",
    "effect_over_time": "change of the effect",
    "phase_one": "failure in phase 1",
}
LIMITS = (
    "A weak alliance that goes before leaving need not cause it: what makes clients rate the alliance low may also make them leave.",
    "Only clients who came to a first session and rated the alliance there are counted; who left before is not in these numbers.",
    "Treatments that were broken off from outside, or still go on, are taken to be like those of the clients who came on.",
    "Who judged the ending may know the alliance; definitions by sessions need no judgment but call some good short treatments dropout.",
    "With few clients who left, ratios are unstable and calibration can say little; the tables name the events behind each number.",
)


def build(data: ReportData) -> Chapter:
    """Return the chapter on leaving treatment."""
    tables = common.tables_of(data, QUESTION)
    hazard = tables["hazard"]
    lead = preferred(hazard, hazard_model="first_session", cause="dropout", term=FIRST, link="cloglog", therapists="frailty", **main(data))
    known = lead is not None and common.has_number(lead)
    return Chapter(
        id="dropout",
        title="Who leaves treatment?",
        question="Does a weak first-session alliance foretell that a client will not come again, and what else does?",
        sources=(QUESTION,),
        headlines=(headline(data, lead),) if known else (),
        findings=findings(data, tables, lead),
        blocks=(
            *risk_figure(data, tables["survival"]),
            *site_forest(data, hazard),
            model_table(data, hazard),
            definition_table(data, tables["definitions"]),
            *calibration_blocks(data, tables["calibration"]),
            *published.tables(data, QUESTION, lambda table, row: benchmark_name(data, tables[table], row)),
        ),
        limits=LIMITS,
        missing=common.not_estimable(data, hazard, estimate_name),
    )


def main(data: ReportData) -> dict[str, str]:
    """Return the definition of the main analyses as a key of rows."""
    return {"definition": data.options["dropout"]["definition"]}


def preferred(table: pd.DataFrame, **keys: str) -> Any:
    """Return the pooled row of some keys: that of most sites, of the sites' estimates rather than of all rows at once where both have as
    many; None where there is none."""
    rows = list(common.tuples(common.pooled_rows(table, **keys)))
    rows.sort(key=lambda row: (row.status not in COMPUTED, -_sites(row), row.method == ONE_STAGE))
    return rows[0] if rows else None


def _sites(row: Any) -> float:
    return float(row.n_sites) if numbers.known(row.n_sites) else 0.0


def chosen_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the pooled rows of which each stands for its keys as :func:`preferred` says; the keys of headline numbers keep both."""
    keys = ["definition", "cause", "hazard_model", "link", "therapists", "term", "session", "estimate_type"]
    known = table.assign(_stage=table["method"].eq(ONE_STAGE), _sites=table["n_sites"].astype("float64").fillna(0.0))
    known = known.assign(_none=~known["status"].isin(COMPUTED))
    best = ~known.sort_values(["_none", "_sites", "_stage"], ascending=[True, False, True], kind="stable").duplicated(keys)
    both = table["hazard_model"].isin(("first_session", "phase_one")) & table["cause"].eq("dropout")
    return table[best.reindex(table.index) | both]


def whole(table: pd.DataFrame, row: Any, **keys: str) -> str:
    """Return in words that a row is of all rows in one model, since fewer sites could be pooled; empty where it is not."""
    if row is None or row.method != ONE_STAGE:
        return ""
    pooled = [one for one in common.tuples(common.pooled_rows(table, **keys)) if one.method != ONE_STAGE]
    few = max((int(_sites(one)) for one in pooled), default=0)
    return (
        f"one model of the rows of {common.plural(row.n_sites, 'site')}; only {few} could be fitted alone and pooled"
        if few
        else f"one model of the rows of {common.plural(row.n_sites, 'site')}"
    )


def value(data: ReportData, row: Any) -> str:
    """Return an estimate with its interval as printed."""
    return f"{common.estimate_text(row, data.decimals)}, {data.level} CI {common.interval_text(row, data.decimals)}"


def headline(data: ReportData, row: Any) -> str:
    """Return what the first-session alliance tells about leaving, in one sentence."""
    if not (numbers.known(row.ci_low) and numbers.known(row.ci_high)):
        says = "No interval could be computed of how the first-session alliance goes with leaving"
    elif row.ci_high < 1:
        says = "Clients with a better first-session alliance leave less often"
    elif row.ci_low > 1:
        says = "Clients with a better first-session alliance leave more often"
    else:
        says = "Whether clients with a better first-session alliance leave less often stays open"
    events = f", {numbers.count(row.n_events)} clients who left" if numbers.known(row.n_events) else ""
    return f"{says}: hazard ratio {value(data, row)} for one SD more alliance ({common.plural(row.n_sites, 'site')}{events})."


def findings(data: ReportData, tables: dict[str, pd.DataFrame], lead: Any) -> tuple[str, ...]:
    """Return what was found, in sentences."""
    hazard = tables["hazard"]
    told = []
    if lead is not None and common.has_number(lead):
        told.append(
            " ".join(part for part in (lead_sentence(data, lead), common.spread_sentence(data, lead), common.caution(lead)) if part)
        )
    told += [
        risk_sentence(data, hazard),
        change_sentence(data, hazard),
        over_time_sentence(data, hazard),
        competing_sentence(data, hazard),
        phase_sentence(data, hazard),
        *combination_sentences(data, hazard),
        definition_sentence(data, tables["definitions"]),
        calibration_sentence(data, tables["calibration"]),
    ]
    return tuple(sentence for sentence in told if sentence)


def lead_sentence(data: ReportData, row: Any) -> str:
    """Return the headline ratio in words."""
    return (
        "With a first-session alliance one standard deviation better, the chance to leave after any session is "
        f"{common.estimate_text(row, data.decimals)} times what it was ({common.sentence_estimate(data, row, 'hazard ratio')}); "
        f"{common.sureness(row)}."
    )


def risk_sentence(data: ReportData, hazard: pd.DataFrame) -> str:
    """Return the risks of dropout at a strong and a weak first-session alliance."""
    pooled = common.pooled_rows(hazard, hazard_model="first_session", **main(data))
    parts = []
    for session in sorted({int(one) for one in pooled["session"].dropna()}):
        own = pooled[pooled["session"] == session]
        levels = {row.term: row for row in common.tuples(own[own["estimate_type"] == "cumulative_risk"]) if common.has_number(row)}
        gap = next((row for row in common.tuples(own[own["estimate_type"] == "risk_difference"]) if common.has_number(row)), None)
        if gap is None or len(levels) < 2:
            continue
        strong, weak = (next(row for term, row in levels.items() if sign in term) for sign in ("+", "-"))
        parts.append(
            f"by session {session}, {numbers.percent(strong.estimate)} against {numbers.percent(weak.estimate)} have dropped out, a "
            f"difference of {numbers.points(gap.estimate)} ({data.level} CI {points_interval(gap)})"
        )
    if not parts:
        return ""
    apart = data.options["questions"][QUESTION]["contrast"]
    return f"At a strong first-session alliance against a weak one ({apart:g} SD apart, about the mean), {'; '.join(parts)}."


def points_interval(row: Any) -> str:
    """Return the interval of a difference of risks in points."""
    low, high = (numbers.points(end).split(numbers.SPACE)[0] for end in (row.ci_low, row.ci_high))
    return f"[{low},{numbers.SPACE}{high}]"


def change_sentence(data: ReportData, hazard: pd.DataFrame) -> str:
    """Return what the change of the alliance since the first session tells."""
    row = preferred(hazard, hazard_model="time_varying", term="alliance_change", **main(data))
    if row is None or not common.has_number(row):
        return ""
    return (
        f"Beside the first session, a rise of the alliance by one standard deviation up to the session before leaving goes with a hazard "
        f"ratio of {value(data, row)}; {common.sureness(row)}. {common.caution(row)}"
    ).strip()


def over_time_sentence(data: ReportData, hazard: pd.DataFrame) -> str:
    """Return whether the effect of the first-session alliance changes over sessions."""
    row = preferred(hazard, hazard_model="effect_over_time", term="alliance_first_by_session", **main(data))
    if row is None or not common.has_number(row):
        return ""
    sure = numbers.known(row.ci_low) and (row.ci_low > 1 or row.ci_high < 1)
    words = "The effect of the first-session alliance changes over sessions" if sure else "Whether the effect changes over sessions is open"
    return f"{words}: with every doubling of the session its hazard ratio is multiplied by {value(data, row)}."


def competing_sentence(data: ReportData, hazard: pd.DataFrame) -> str:
    """Return the ratios of planned endings and of the subdistribution beside that of dropout."""
    planned, whole = (
        preferred(hazard, hazard_model="first_session", cause=cause, term=FIRST, **main(data))
        for cause in ("planned_ending", "dropout_subdistribution")
    )
    parts = []
    if planned is not None and common.has_number(planned):
        parts.append(
            f"planned endings go with the first-session alliance by a hazard ratio of {value(data, planned)}{fewer(data, hazard, planned)}"
        )
    if whole is not None and common.has_number(whole):
        parts.append(f"with clients who ended as planned kept at risk, the ratio of dropout is {value(data, whole)}")
    text = "; ".join(parts)
    return f"Beside dropout, {text}." if text else ""


def fewer(data: ReportData, hazard: pd.DataFrame, planned: Any) -> str:
    """Return why planned endings rest on fewer clients than dropout; empty where they do not."""
    row = preferred(hazard, hazard_model="first_session", cause="dropout", term=FIRST, link="cloglog", therapists="frailty", **main(data))
    if row is None or not (numbers.known(row.n_clients) and numbers.known(planned.n_clients)) or planned.n_clients >= row.n_clients:
        return ""
    return (
        f" (of {numbers.count(planned.n_clients)} of {numbers.count(row.n_clients)} clients: each session has a hazard of planned endings "
        "of its own, so that sessions after which nobody ended as planned, and clients who came to such sessions alone, say nothing of it)"
    )


def phase_sentence(data: ReportData, hazard: pd.DataFrame) -> str:
    """Return what followed where the alliance failed to form in phase 1."""
    leaving = preferred(hazard, hazard_model="phase_one", cause="dropout", term="failed", **main(data))
    outcome = preferred(hazard, hazard_model="phase_one", cause="outcome", term="failed")
    parts = []
    if leaving is not None and common.has_number(leaving):
        keys = {"hazard_model": "phase_one", "cause": "dropout", "term": "failed", **main(data)}
        said = "; ".join(text for text in (common.sureness(leaving), whole(hazard, leaving, **keys)) if text)
        parts.append(f"they later left by a hazard ratio of {value(data, leaving)} ({said})")
    if outcome is not None and common.has_number(outcome):
        parts.append(f"their outcome at the same intake level differs by {value(data, outcome)} SD ({common.sureness(outcome)})")
    if not parts:
        return ""
    begin, end = data.options["questions"][QUESTION]["phase_one"]["sessions"]
    who = f"Clients whose alliance failed to form in sessions {begin} to {end}, against all others who came beyond session {end}"
    return f"{who}: {'; '.join(parts)}."


def combination_sentences(data: ReportData, hazard: pd.DataFrame) -> list[str]:
    """Return what combinations of clients and therapists tell."""
    told = []
    for name in sorted(data.options["questions"][QUESTION]["combinations"]):
        row = preferred(hazard, hazard_model=f"combination: {name}", term="client_by_therapist", **main(data))
        if row is not None and common.has_number(row):
            told.append(
                f"Client × therapist ({common.words(name).lower()}): the product of both goes with a hazard ratio of {value(data, row)}; "
                f"{common.sureness(row)}. {common.caution(row)}".strip()
            )
    return told


def definition_sentence(data: ReportData, definitions: pd.DataFrame) -> str:
    """Return how many dropped out by each definition, and how far definitions agree."""
    defined = common.pooled_rows(definitions, estimate_type="share")
    shares = [
        f"{definition_name(row.definition)} {common.estimate_text(row, 0)}" for row in common.tuples(defined) if common.has_number(row)
    ]
    kappas = common.pooled_rows(definitions, estimate_type="kappa")
    agreed = [row.estimate for row in common.tuples(kappas) if common.has_number(row)]
    if not shares:
        return ""
    text = f"By definition, {listed(shares)} of the clients dropped out{common.more_withheld(defined)}"
    if agreed:
        low, high = (numbers.bounded(end, data.decimals) for end in (min(agreed), max(agreed)))
        text += f"; two definitions agree by kappa = {low}" + (f" to {high}" if low != high else "") + common.more_withheld(kappas)
    return f"{text}."


def calibration_sentence(data: ReportData, calibration: pd.DataFrame) -> str:
    """Return how well dropout was foretold."""
    told = []
    for validation, who in (("sites_in_turn", "sites"), ("therapists_in_turn", "therapists")):
        ratio, slope = (
            preferred(calibration, validation=validation, statistic=statistic) for statistic in ("observed_to_expected", "slope")
        )
        if ratio is not None and slope is not None and common.has_number(ratio) and common.has_number(slope):
            told.append(
                f"for {who} that the model had not seen, {value(data, ratio)} times as many clients dropped out as it expected, and the "
                f"calibration slope is {value(data, slope)}"
            )
    if not told:
        return ""
    text = "; ".join(told)
    return f"{text[0].upper()}{text[1:]} (1: risks are spread as foretold; below 1: foretold too far apart)."


def definition_name(name: str) -> str:
    """Return a definition in words."""
    return f"“{name.replace('_', ' ')}”"


THINNED = "They step only where enough clients have left since the step before; in between no number is shown."


def risk_figure(data: ReportData, survival: pd.DataFrame) -> list[Figure]:
    """Return the cumulative risk of dropout by third of the first-session alliance, over all sites; none where nothing can be shown."""
    pooled = common.pooled_rows(survival, estimate_type="cumulative_risk", **main(data))
    pooled = pooled[pooled["estimate"].notna()]
    thinned = common.pooled_rows(survival, estimate_type="cumulative_risk", status="withheld", **main(data))
    curves, rows = [], []
    for group, label in THIRDS.items():
        own = pooled[pooled["group"] == group].sort_values("session")
        if len(own):
            curves.append(_steps(label, own))
            rows += [
                (
                    Cell(label),
                    number_cell(numbers.count(row.session), row.session),
                    common.count_cell(row.n_at_risk),
                    number_cell(numbers.percent(row.estimate), row.estimate),
                    number_cell(common.interval_text(row, 0), row.ci_low),
                )
                for row in common.tuples(own)
                if row.session == 1 or row.session % 5 == 0
            ]
    if len(curves) < 2:
        return []
    told = "; ".join(
        f"{curve.label}: {numbers.percent(curve.values[min(9, len(curve.values) - 1)])} by session {min(10, len(curve.values))}"
        for curve in curves
    )
    sizes = int(pooled.sort_values("session").groupby("group")["n_clients"].first().reindex(list(THIRDS)).sum())
    arguments = {"axis": "Dropped out", "across": "Session"}
    return [
        Figure(
            id="dropout-risk",
            title="Dropout by third of first-session alliance, all sites together",
            alt=f"Curves of the share of clients who have dropped out, by session. {told}.",
            svg=figures_dropout.risk_curves(curves, **arguments),
            note=f"{numbers.count(sizes)} clients with a first-session alliance; thirds are those of each site. Planned endings compete: "
            f"a client who ended as planned cannot drop out any more. Bands are {data.level} intervals of the lowest and highest third, "
            "with clients taken as independent. Curves stop where fewer than 10 clients are at risk."
            + (f" {THINNED}" if len(thinned) else ""),
            data=Table(
                id="dropout-risk-table",
                caption="Share of clients who have dropped out",
                columns=(
                    Column("Group"),
                    Column("Session", True),
                    Column("At risk", True),
                    Column("Dropped out", True),
                    Column(f"{data.level} CI", True),
                ),
                rows=tuple(rows),
            ),
        )
    ]


def _steps(label: str, own: pd.DataFrame) -> Curve:
    """Return a curve from the sessions at which it is known: in between the risk stays where it was, and starts at zero."""
    sessions = range(1, int(own["session"].max()) + 1)
    known = own.set_index(own["session"].astype(int))
    values = known["estimate"].astype(float).reindex(sessions).ffill().fillna(0.0)
    lows, highs = (known[name].astype(float).reindex(sessions).ffill() for name in ("ci_low", "ci_high"))
    at_risk = known["n_at_risk"].astype("Float64").reindex(sessions).to_numpy(dtype=float, na_value=math.nan)
    return Curve(label, values.tolist(), lows.tolist(), highs.tolist(), at_risk.tolist())


def site_forest(data: ReportData, hazard: pd.DataFrame) -> list[Figure]:
    """Return the hazard ratio of the first-session alliance at every site, and over all of them."""
    chosen = common.select(
        hazard, hazard_model="first_session", cause="dropout", term=FIRST, link="cloglog", therapists="frailty", **main(data)
    )
    rows = [
        ForestRow(data.labels.get(row.site, row.site), row.estimate, row.ci_low, row.ci_high, weight=events(row))
        if common.has_number(row)
        else ForestRow(data.labels.get(row.site, row.site))
        for row in common.tuples(common.site_rows(chosen).sort_values("site", kind="stable"))
    ]
    for row in common.tuples(common.pooled_rows(chosen)):
        if row.method == ONE_STAGE:
            rows.append(common.pooled_forest_row(row, "All rows in one model"))
        else:
            pooled = common.pooled_forest_row(row, f"Pooled ({common.plural(row.n_sites, 'site')})")
            rows.append(replace(pooled, prediction=None))
    if not any(numbers.known(row.estimate) for row in rows):
        return []
    told = "; ".join(
        f"{row.label} {numbers.decimal(row.estimate, data.decimals)} {numbers.interval(row.low, row.high, data.decimals, False)}"
        for row in rows
        if numbers.known(row.estimate)
    )
    arguments = {
        "axis": "Hazard ratio of dropout",
        "decimals": data.decimals,
        "bound": False,
        "reference": 1.0,
        "ratio": True,
    }
    return [
        Figure(
            id="dropout-forest",
            title="First-session alliance and dropout, site by site",
            alt=f"Forest plot of hazard ratios with {data.level} intervals: {told}.",
            svg=figures.forest(rows, **arguments, narrow=True),
            note="Ratios are for one SD more first-session alliance. Below 1: clients with a better alliance leave less often. Squares "
            "grow with the number of clients who left.",
        )
    ]


def events(row: Any) -> float:
    """Return the events behind a row; NaN where they are not known."""
    return float(row.n_events) if numbers.known(row.n_events) else math.nan


def estimate_name(row: Any) -> str:
    """Return what a row of the table is about, in words."""
    model, _, pair = row.hazard_model.partition(": ")
    about = f"{TERMS.get(row.term, risk_name(row.term))}"
    if pair:
        about = f"{about}, {common.words(pair).lower()}"
    if numbers.known(row.session):
        about = f"{about}, by session {numbers.count(row.session)}"
    extra = [CAUSES.get(row.cause, row.cause), MODELS.get(model, "")]
    if row.link == "logit":
        extra.append("odds ratio")
    if row.definition:
        extra.append(definition_name(row.definition))
    return f"{about} ({', '.join(part for part in extra if part)})"


def risk_name(term: str) -> str:
    """Return at which alliance a risk is told, in words."""
    return term.replace("alliance_first", "first-session alliance").replace("+", "at +").replace(" -", f" at {numbers.MINUS}")


def told_in_table(term: str) -> bool:
    """Tell whether the table of models shows a term: not the baseline and what is held constant, nor risks that the text tells."""
    return term not in ("session_doubled", "intake_severity", "client_trait", "therapist_trait") and (
        " SD" not in term or " minus " in term
    )


def model_table(data: ReportData, hazard: pd.DataFrame) -> Table:
    """Return the pooled ratios and risks of the main definition."""
    chosen = common.pooled_rows(hazard)
    chosen = chosen[chosen["definition"].isin([*main(data).values(), ""]) & chosen["term"].map(told_in_table).astype(bool)]
    # Both over sites and over all rows at once only for the headline; all others stand in the results' files.
    chosen = chosen_rows(chosen)
    order = [*MODELS, "combination"]
    rows, emphasised = [], set()
    shown = sorted(
        (row for row in common.tuples(chosen) if common.has_number(row)),
        key=lambda row: (
            order.index(row.hazard_model.partition(":")[0]),
            row.estimate_type in ("cumulative_risk", "risk_difference"),
            list(CAUSES).index(row.cause),
        ),
    )
    for row in shown:
        if (row.hazard_model, row.cause, row.term, row.link, row.therapists) == ("first_session", "dropout", FIRST, "cloglog", "frailty"):
            emphasised.add(len(rows))
        model, _, pair = row.hazard_model.partition(": ")
        name = TERMS.get(row.term, risk_name(row.term)) + (f", {common.words(pair).lower()}" if pair else "")
        if numbers.known(row.session):
            name += f", by session {numbers.count(row.session)}"
        how = "therapists jackknifed" if row.therapists == "jackknife" else "all rows in one model" if row.method == ONE_STAGE else "pooled"
        kind = {"odds_ratio": "odds ratio", "hazard_ratio": "hazard ratio", "risk_difference": "difference", "cumulative_risk": "risk"}
        form = f"{kind.get(row.estimate_type, 'difference in SD' if row.cause == 'outcome' else 'SD')}, {how}"
        cells = common.estimate_cells(data, row)
        rows.append(
            (
                Cell(name),
                Cell(CAUSES[row.cause]),
                Cell(MODELS.get(model, "client × therapist")),
                Cell(form),
                common.count_cell(row.n_events),
                *cells,
            )
        )
    return Table(
        id="dropout-models",
        caption=f"Who leaves: all models, over sites (definition {definition_name(main(data)['definition'])})",
        columns=(
            Column("Of"),
            Column("Ending"),
            Column("Model"),
            Column("Form"),
            Column("Events", True),
            *common.estimate_columns(data, "Estimate"),
        ),
        rows=tuple(rows),
        note="Ratios below 1: less dropout. One more SD of the site for alliance and severity; SD of clients and of therapists for their "
        "combinations. What is held constant, and risks, stand in the results’ files. Fewer than "
        f"{data.options['questions'][QUESTION]['events_per_parameter']['low']:g} events per coefficient are flagged at the sites.",
        empty="No model could be fitted at enough sites.",
        emphasised=frozenset(emphasised),
        folded=True,
    )


def definition_table(data: ReportData, definitions: pd.DataFrame) -> Table:
    """Return the definitions side by side."""
    pooled = common.pooled_rows(definitions)
    names = sorted(set(pooled["definition"]) | (set(pooled["compared_with"]) - {""}))
    rows = []
    for name in names:
        share = preferred(pooled, definition=name, estimate_type="share")
        ratio = preferred(pooled, definition=name, estimate_type="hazard_ratio")
        stage = whole(pooled, ratio, definition=name, estimate_type="hazard_ratio")
        cells = [Cell(common.words(name) + (" (main)" if name == main(data)["definition"] else ""))]
        for row, digits in ((share, 0), (ratio, data.decimals)):
            known = row is not None and common.has_number(row)
            text = common.estimate_text(row, digits) if row is not None else numbers.UNKNOWN
            ends = common.interval_text(row, digits) if known else numbers.UNKNOWN
            cells.append(number_cell(text if ends == numbers.UNKNOWN else f"{text} {ends}", row.estimate if known else None))
            if row is share:
                cells.append(common.count_cell(row.n_events if known else None))
        for other in names:
            pair = tuple(sorted((name, other)))
            row = preferred(pooled, definition=pair[0], compared_with=pair[1], estimate_type="kappa") if name != other else None
            known = row is not None and common.has_number(row)
            cells.append(
                number_cell(common.estimate_text(row, data.decimals) if known else numbers.UNKNOWN, row.estimate if known else None)
            )
        said = "; ".join(text for text in (stage, common.remark(ratio) if ratio is not None else "") if text)
        cells.append(Cell(said, said))
        rows.append(tuple(cells))
    return Table(
        id="dropout-definitions",
        caption="Definitions of dropout side by side, over sites",
        columns=(
            Column("Definition"),
            Column(f"Dropped out ({data.level} CI)", True),
            Column("Clients who left", True),
            Column(f"Hazard ratio of the alliance ({data.level} CI)", True),
            *(Column(f"Kappa with {name.replace('_', ' ')}", True) for name in names),
            Column("Remark", wide=True, optional=True),
        ),
        rows=tuple(rows),
        note="Shares are of clients known to have dropped out or not. The hazard ratio is for one more SD of first-session alliance, "
        "pooled over sites, or of one model of all rows where that holds more sites.",
        empty="No site could tell who dropped out.",
    )


def calibration_blocks(data: ReportData, calibration: pd.DataFrame) -> list[Fold]:
    """Return predicted beside observed risks; none where nothing can be shown."""
    pooled = common.pooled_rows(calibration, estimate_type="cumulative_risk")
    dots, session = [], 0
    for (group,), own in common.rows_by(pooled.sort_values("group", key=lambda names: pd.to_numeric(names)), ("group",)):
        rows = {row.statistic: row for row in common.tuples(own) if common.has_number(row)}
        if group and len(rows) == 2:
            seen = rows["observed"]
            session = int(seen.session)
            dots.append((Dot(rows["predicted"].estimate, seen.estimate, seen.ci_low, seen.ci_high), seen, group))
    overall = [row for row in common.tuples(common.pooled_rows(calibration)) if row.estimate_type != "cumulative_risk"]
    table = Table(
        id="dropout-calibration-table",
        caption="Calibration of the hazard model of the first-session alliance",
        columns=(Column("Left out in turn"), Column("Statistic"), *common.estimate_columns(data, "Estimate")),
        rows=tuple(
            (
                Cell(common.words(row.validation.removesuffix("_in_turn"))),
                Cell(common.words(row.statistic)),
                *common.estimate_cells(data, row),
            )
            for row in overall
        ),
        note="Observed to expected: 1 where as many dropped out as expected. Slope: 1 where risks are spread as foretold, below 1 where "
        "they were foretold too far apart.",
        empty="No site could judge how well dropout is foretold.",
    )
    blocks: list[Table | Figure] = [table]
    if len(dots) > 1:
        told = "; ".join(
            f"group {group}: predicted {numbers.percent(dot.predicted)}, observed {numbers.percent(dot.observed)} "
            f"({numbers.count(seen.n_clients)} clients)"
            for dot, seen, group in dots
        )
        drawn = [dot for dot, _, _ in dots]
        arguments = {"axis": f"Dropped out by session {session}", "across": "Predicted"}
        blocks.append(
            Figure(
                id="dropout-calibration",
                title=f"Predicted and observed dropout by session {session}, groups of clients by predicted risk",
                alt=f"Predicted against observed risks: {told}.",
                svg=figures_dropout.calibration(drawn, **arguments),
                note=f"Each point is a group of clients by predicted risk within their site; lines are {data.level} intervals. Predictions "
                "come from models fitted without the client’s therapist. On the dashed line they agree.",
            )
        )
    return [Fold("dropout-foretold", "How well can dropout be foretold?", tuple(blocks))]


def benchmark_name(data: ReportData, table: pd.DataFrame, row: Any) -> str:
    """Return what a published figure is about; empty for other definitions, and for rows in whose place the text tells another."""
    if row.definition not in (main(data)["definition"], ""):
        return ""
    keys = {name: getattr(row, name) for name in ("definition", "cause", "hazard_model", "link", "therapists", "term", "estimate_type")}
    told = preferred(table, **keys)
    if told is None or told.method != row.method:
        return ""
    few = whole(table, told, **keys)
    return f"{estimate_name(row)}; {few}" if few else estimate_name(row)


def site_rows(data: ReportData) -> pd.DataFrame:
    """Return the rows of the main definition that a site's page shows."""
    hazard = data.tables[QUESTION]["hazard"]
    return hazard[
        hazard["definition"].eq(main(data)["definition"])
        & hazard["hazard_model"].eq("first_session")
        & hazard["cause"].eq("dropout")
        & hazard["link"].eq("cloglog")
        & hazard["therapists"].eq("frailty")
        & hazard["term"].eq(FIRST)
        & (hazard["site"].ne(POOLED) | hazard["method"].ne(ONE_STAGE))
    ]
