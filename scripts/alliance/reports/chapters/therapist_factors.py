"""What therapists bring: training, experience and traits, with all clients or with some, and what so few therapists could show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from alliance.reports import figures, figures_outcome, numbers
from alliance.reports.chapters import common, published
from alliance.reports.elements import Cell, Chapter, Column, Figure, Table, listed, number_cell
from alliance.reports.figures import ForestRow
from alliance.reports.inputs import ReportData

QUESTION = "therapist_factors"
TOGETHER = ("one_stage_therapist_means", "one_stage")
SAME_CLIENTS = "not held constant, same clients"
PARTS = {"constant": "therapists", "client_specific": "therapists by client", "between_client": "clients", "within_client": "sessions"}
BARS = ("As it is", "Client factors held constant", "By kind of client")
DECISIONS = {
    "equivalent": "as good as none",
    "different": "differs from none",
    "equivalent_and_different": "differs from none, yet too small to matter",
    "undecided": "undecided",
    "": numbers.UNKNOWN,
}
TYPES = {
    "slope_standardised": "slope",
    "slope_contrast": "difference of slopes",
    "slope_over_sessions": "change over ten sessions",
    "mean_difference": "difference in level",
    "interaction_standardised": "product",
}
LIMITS = (
    "Nobody was assigned to a training or a trait: therapists who differ in it may differ in much else, and so may their clients.",
    "What differs between therapists only is known from as many facts as there are therapists, however many clients they see. An interval "
    "that holds zero does not show that nothing is there; the smallest detectable effect tells what could have been found.",
    "A therapist’s part of the variance is also that of the clients who come to that therapist; holding client factors constant "
    "removes only what was measured.",
    "Many slopes stand here. With so many intervals, some leave out zero by chance alone.",
)


def build(data: ReportData) -> Chapter:
    """Return the chapter on therapist factors."""
    tables = common.tables_of(data, QUESTION)
    effects, variance = tables["effects"], tables["variance"]
    best = preferred(effects)
    main = training_contrast(data, best)
    return Chapter(
        id="therapists",
        title="What therapists bring",
        question="Do training and traits of therapists go with the alliance, and is it the therapist with all clients, or with some?",
        sources=(QUESTION,),
        headlines=headlines(data, main, variance),
        findings=findings(data, best, effects, variance),
        blocks=(
            *training_forest(data, best),
            level_table(data, best),
            further_table(data, best),
            *share_figure(data, variance),
            variance_table(data, variance),
            *published_table(data),
        ),
        limits=LIMITS,
        missing=missing(data, effects, variance),
    )


def preferred(effects: pd.DataFrame) -> pd.DataFrame:
    """Return one pooled row an effect: of all therapists at once where that could be estimated, else pooled over sites."""
    pooled = common.pooled_rows(effects)
    order = np.select([pooled["method"].isin(TOGETHER), pooled["method"].eq("none")], [0, 2], 1)
    absent = pooled["estimate"].isna().to_numpy()
    keys = ["topic", "factor", "alliance_scale", "contrast", "window", "estimate_type"]
    ranked = pooled.assign(_order=order + 3 * absent).sort_values("_order", kind="stable")
    return ranked.drop_duplicates(keys).drop(columns="_order").sort_index()


def main_window(data: ReportData) -> str:
    """Return the window of the alliance that the question is about."""
    return data.options["questions"][QUESTION]["windows"][0]


def _of(table: pd.DataFrame, **keys: str) -> list[Any]:
    return list(common.tuples(common.select(table, **keys)))


def training_contrast(data: ReportData, best: pd.DataFrame) -> Any | None:
    """Return the row on what training raises, with a number; None where there is none."""
    rows = _of(best, topic="level", factor_kind="training", alliance_scale="", window=main_window(data))
    return next((row for row in rows if common.has_number(row)), None)


def value(data: ReportData, row: Any) -> str:
    """Return an estimate with its interval as printed."""
    return f"{common.estimate_text(row, data.decimals)}, {data.level} CI {common.interval_text(row, data.decimals)}"


def contrast_words(contrast: str) -> str:
    """Return a contrast of scales in words: ``(task + goal) / 2 - bond`` becomes ``task and goal minus bond``."""
    first, _, second = contrast.partition(" - ")
    return f"{_scales(first)} minus {_scales(second)}" if second else contrast


def _scales(text: str) -> str:
    return " and ".join(part.strip() for part in text.split("/")[0].strip(" ()").split("+"))


def factor_words(row: Any) -> str:
    """Return a factor in words."""
    if row.topic == "interaction":
        client, _, therapist = row.factor.partition(" x ")
        plain = (part.removeprefix("client ").removeprefix("therapist ").replace("_", " ") for part in (client, therapist))
        return "Client’s {} x therapist’s {}".format(*plain)
    return common.words(row.factor)


def headlines(data: ReportData, main: Any | None, variance: pd.DataFrame) -> tuple[str, ...]:
    """Return what training raises, and how much of the alliance is the therapist's."""
    told = []
    if main is not None:
        told.append(
            f"Per SD of therapists’ {main.factor.replace('_', ' ')}, the parts of the alliance ({contrast_words(main.contrast)}) differ by "
            f"{common.estimate_text(main, data.decimals)} SD, {data.level} CI {common.interval_text(main, data.decimals)} "
            f"({common.plural(main.n_therapists, 'therapist')}); {common.sureness(main)}."
        )
    constant = share_of(variance, "constant", "", "sessions")
    if constant is not None:
        told.append(
            f"{common.estimate_text(constant, 0)} of the variance of the alliance lies between therapists "
            f"({data.level} CI {common.interval_text(constant, 0)})."
        )
    return tuple(told)


def share_of(variance: pd.DataFrame, part: str, trait: str, basis: str, case_mix: str = "not held constant") -> Any | None:
    """Return a pooled share of variance that has a number; None where there is none."""
    rows = _of(common.pooled_rows(variance), part=part, trait=trait, basis=basis, case_mix=case_mix, estimate_type="variance_share")
    return next((row for row in rows if common.has_number(row)), None)


def findings(data: ReportData, best: pd.DataFrame, effects: pd.DataFrame, variance: pd.DataFrame) -> tuple[str, ...]:
    """Return what each kind of factor shows, how the variance divides, and what so few therapists could show."""
    window = main_window(data)
    level = common.select(best, topic="level", window=window)
    told = [kind_sentence(data, level, kind, lead) for kind, lead in KINDS.items()]
    told.insert(1, two_stage_sentence(data, effects))
    told += [interaction_sentence(data, best), *variance_sentences(data, variance), power_sentence(data, level, effects)]
    return tuple(sentence for sentence in told if sentence)


KINDS = {
    "training": "Training",
    "attachment": "The therapist’s attachment",
    "introject": "The therapist’s introject",
    "alliance_training": "Training in the alliance",
}


def kind_sentence(data: ReportData, level: pd.DataFrame, kind: str, lead: str) -> str:
    """Return the slopes and the contrast of one kind of factor, with what the test against the bounds says."""
    rows = [row for row in _of(level, factor_kind=kind) if common.has_number(row)]
    if not rows:
        return ""
    several = len({row.factor for row in rows}) > 1
    shown = []
    for row in rows:
        if not row.contrast and row.alliance_scale not in SHOWN[kind]:
            continue
        name = contrast_words(row.contrast) if row.contrast else row.alliance_scale
        name = f"{row.factor.replace('_', ' ')} on {name}" if several else name
        shown.append(f"{name} {value(data, row)} ({DECISIONS[row.decision]})")
    bound = numbers.bounded(rows[0].bound, data.decimals)
    joint = next((row.p_joint for row in rows if row.contrast and numbers.known(row.p_joint)), math.nan)
    together = (
        f" All scales together: p{numbers.SPACE}{_p(joint)}." if numbers.known(joint) and not several and _enough_sites(data, rows) else ""
    )
    return f"{lead}, SD of the alliance per SD (as good as none: within ±{bound}): {'; '.join(shown)}.{together}"


def _enough_sites(data: ReportData, rows: list[Any]) -> bool:
    """Tell whether p values over so many sites are shown."""
    return max(int(row.n_sites) for row in rows) >= data.options["pooling"]["headline_sites"]


SHOWN = {
    "training": ("task", "goal", "bond"),
    "attachment": ("bond",),
    "introject": ("total", "bond"),
    "alliance_training": ("total",),
}


def _p(value: float) -> str:
    return f"<{numbers.SPACE}.001" if value < 0.001 else f"={numbers.SPACE}{numbers.bounded(value, 3)}"


def interaction_sentence(data: ReportData, best: pd.DataFrame) -> str:
    """Return the products of clients' and therapists' traits in a sentence."""
    rows = [(factor_words(row).replace("Client’s", "client’s"), row) for row in _of(best, topic="interaction")]
    return common.contrast_list(
        data, "Client by therapist (product of both traits, in SD; above zero: better where both are high or both low)", rows
    )


def variance_sentences(data: ReportData, variance: pd.DataFrame) -> list[str]:
    """Return what lies between therapists, before and after holding client factors constant, and what depends on the client."""
    told = []
    before = share_of(variance, "constant", "", "sessions", SAME_CLIENTS)
    after = share_of(variance, "constant", "", "sessions", "held constant")
    if before is not None and after is not None:
        told.append(
            f"With the client factors held constant, {common.estimate_text(after, 0)} of the variance of session scores lies between "
            f"therapists {common.interval_text(after, 0)}, without them {common.estimate_text(before, 0)} "
            f"{common.interval_text(before, 0)} (same clients; each a share of the variance that is left)."
        )
    chosen = common.select(common.pooled_rows(variance), part="client_specific", estimate_type="variance_share")
    specific = [row for row in common.tuples(chosen) if common.has_number(row)]
    if specific:
        shown = listed([f"{row.trait.replace('_', ' ')} {common.estimate_text(row, 0)} {common.interval_text(row, 0)}" for row in specific])
        told.append(
            f"What depends on the kind of client a therapist sees adds, as a share of the variance of clients’ means (all client factors "
            f"together: of session scores): {shown}."
        )
    reliability = [row for row in _of(common.pooled_rows(variance), estimate_type="reliability_of_means") if common.has_number(row)]
    if reliability:
        told.append(
            f"The mean of a therapist’s clients tells therapists apart with a reliability of "
            f"{common.estimate_text(reliability[0], data.decimals)} (median)."
        )
    return told


def power_sentence(data: ReportData, level: pd.DataFrame, effects: pd.DataFrame) -> str:
    """Return what the smallest site and all sites together could show."""
    sites = common.site_rows(effects, topic="level", window=main_window(data))
    sites = sites[sites["detectable_r"].notna() & sites["estimate"].notna()]
    together = [row for row in common.tuples(level) if common.has_number(row) and numbers.known(row.detectable_r)]
    if sites.empty or not together:
        return ""
    fewest = next(common.tuples(sites[sites["n_therapists"] == sites["n_therapists"].min()]))
    most = min(together, key=lambda row: row.detectable_r)
    power = data.options["questions"][QUESTION]["power"]
    return (
        f"What could be found in {numbers.percent(power)} of studies like this: with "
        f"{common.plural(fewest.n_therapists, 'therapist')} at one site only a correlation of "
        f"{numbers.bounded(fewest.detectable_r, data.decimals)} or more, with all {common.plural(most.n_therapists, 'therapist')} together "
        f"one of {numbers.bounded(most.detectable_r, data.decimals)}."
    )


def training_forest(data: ReportData, best: pd.DataFrame) -> list[Figure]:
    """Return training on task, goal, bond and their contrast."""
    rows: list[ForestRow] = []
    found = _of(best, topic="level", factor_kind="training", window=main_window(data))
    several = len({row.factor for row in found}) > 1
    for row in sorted(found, key=lambda row: (row.factor, bool(row.contrast))):
        if not row.contrast and row.alliance_scale not in SHOWN["training"]:
            continue
        label = common.words(contrast_words(row.contrast) if row.contrast else row.alliance_scale)
        label = f"{label}, {row.factor.replace('_', ' ')}" if several else label
        rows.append(common.pooled_forest_row(row, label, published=False, kind="estimate"))
    if not any(numbers.known(row.estimate) for row in rows):
        return []
    told = "; ".join(
        f"{row.label} {numbers.bounded(row.estimate, data.decimals)} {numbers.interval(row.low, row.high, data.decimals)}"
        for row in rows
        if numbers.known(row.estimate)
    )
    arguments = {"axis": "SD per SD", "decimals": data.decimals}
    return [
        Figure(
            id="therapist-training",
            title="Training and the parts of the alliance, all therapists within sites",
            alt=f"Forest plot of slopes with {data.level} intervals: {told}.",
            svg=figures.forest(rows, **arguments, narrow=True),
            note=f"SD of the alliance per SD of training; the last is a difference of slopes. Lines are {data.level} intervals.",
        )
    ]


def _columns(data: ReportData, *first: Column) -> tuple[Column, ...]:
    return (
        *first,
        Column("Estimate", True),
        Column(f"{data.level} CI", True),
        Column("Smallest detectable", True),
        Column("Says"),
        Column("Therapists", True),
        Column("Clients", True),
        Column("Sites", True),
        Column("Remark", wide=True, optional=True),
    )


def _cells(data: ReportData, row: Any) -> tuple[Cell, ...]:
    known = common.has_number(row)
    smallest = row.minimum_detectable if known else math.nan
    return (
        number_cell(common.estimate_text(row, data.decimals), row.estimate if known else None),
        number_cell(common.interval_text(row, data.decimals), row.ci_low),
        number_cell(numbers.decimal(smallest, data.decimals) if numbers.known(smallest) else numbers.UNKNOWN, smallest),
        Cell(DECISIONS[row.decision]),
        common.count_cell(row.n_therapists),
        common.count_cell(row.n_clients),
        common.count_cell(row.n_sites),
        Cell(said := common.remark(row), said),
    )


def level_table(data: ReportData, best: pd.DataFrame) -> Table:
    """Return the slopes of all scales on every factor."""
    several = len(data.options["questions"][QUESTION]["windows"]) > 1
    rows = tuple(
        (
            Cell(factor_words(row)),
            Cell(contrast_words(row.contrast) if row.contrast else row.alliance_scale),
            Cell(row.window.replace("_", " ") if several else ""),
            *_cells(data, row),
        )
        for row in _of(best, topic="level")
        if row.contrast or row.alliance_scale in (*SHOWN.get(row.factor_kind, ()), "bond")
    )
    bound = numbers.bounded(data.options["questions"][QUESTION]["equivalence_bound"], data.decimals)
    return Table(
        id="therapist-effects",
        caption="Factors of therapists and the alliance: change of the alliance (SD) per SD of the factor",
        columns=_columns(data, Column("Factor"), Column("Alliance"), Column("Window", optional=True)),
        rows=rows,
        note=f"Within sites; the results tables hold all scales of every factor. As good as none: values beyond ±{bound} are "
        "rejected by two one-sided tests.",
        empty="No site sent a factor of therapists together with the alliance.",
        folded=True,
    )


def further_table(data: ReportData, best: pd.DataFrame) -> Table:
    """Return products of traits, change over sessions by training, and before against after training."""
    shown = best[best["topic"].ne("level") & best["estimate"].notna()]
    rows = tuple(
        (Cell(factor_words(row)), Cell(TYPES.get(row.estimate_type, row.estimate_type)), *_cells(data, row)) for row in common.tuples(shown)
    )
    return Table(
        id="therapist-further",
        caption="Client by therapist, and training in the alliance over sessions",
        columns=_columns(data, Column("What"), Column("Number")),
        rows=rows,
        note="Products are of a client’s and a therapist’s trait in SD, beside both; change is in SD of session scores over ten sessions.",
        empty="No site sent what this needs.",
    )


def two_stage_sentence(data: ReportData, effects: pd.DataFrame) -> str:
    """Return what training raises when the estimates of single sites are pooled."""
    rows = common.pooled_rows(effects, topic="level", factor_kind="training", alliance_scale="", window=main_window(data))
    rows = [row for row in common.tuples(rows) if row.method.startswith("two_stage") and common.has_number(row)]
    if not rows:
        return ""
    spread = (
        f"; {numbers.percent(rows[0].i2)} of the variance of the sites’ estimates lies between sites" if numbers.known(rows[0].i2) else ""
    )
    return (
        f"Pooled from the estimates of {common.plural(rows[0].n_sites, 'site')} instead of all therapists at once, the difference by "
        f"{rows[0].factor.replace('_', ' ')} is {value(data, rows[0])}{spread}."
    )


def published_table(data: ReportData) -> list[Table]:
    """Return what the review says beside the new estimates."""
    rows = [row for row in published.rows_of(data, QUESTION, benchmark_name) if published.has_new(row)]
    caption = "Figures of the review beside the new ones"
    return [published.table(data, "published-therapist-factors", caption, rows, folded=True)] if rows else []


def share_figure(data: ReportData, variance: pd.DataFrame) -> list[Figure]:
    """Return where the alliance differs: therapists with all clients, by kind of client, clients, and sessions."""
    chosen = common.select(common.pooled_rows(variance), estimate_type="variance_share", basis="sessions")
    bars: dict[str, dict[str, float]] = {}
    for row in common.tuples(chosen):
        if common.has_number(row) and row.case_mix != SAME_CLIENTS:
            bars.setdefault(bar_words(row), {})[row.part] = row.estimate
    if not bars:
        return []
    bars = {name: bars[name] for name in BARS if name in bars}
    parts = [part for part in PARTS if any(part in own for own in bars.values())]
    shares = [[own.get(part, math.nan) for part in parts] for own in bars.values()]
    told = "; ".join(
        f"{bar}: " + ", ".join(f"{PARTS[part]} {numbers.percent(own[part])}" for part in parts if part in own) for bar, own in bars.items()
    )
    drawn = list(bars), [PARTS[part] for part in parts], shares
    return [
        Figure(
            id="therapist-shares",
            title="Where the alliance differs: therapists, clients and sessions",
            alt=f"Stacked bars of shares of variance. {told}.",
            svg=figures_outcome.stacked_shares(*drawn, narrow=True),
            note="Session scores of all sites that share rows, every site with its own mean. Therapists: with all clients alike; "
            "therapists by client: how far it depends on the client (all client factors together).",
        )
    ]


def bar_words(row: Any) -> str:
    """Return what a split of the variance is about, in words."""
    if row.trait:
        return BARS[2]
    return BARS[1] if row.case_mix == "held constant" else BARS[0]


def variance_table(data: ReportData, variance: pd.DataFrame) -> Table:
    """Return all shares of variance over sites."""
    pooled = common.pooled_rows(variance)
    slopes = common.select(pooled, estimate_type="slope_variance")
    tested = {(row.basis, row.trait): row.p_boundary for row in common.tuples(slopes) if row.part == "client_specific"}
    pooled = common.select(pooled, estimate_type="variance_share")
    pooled = pooled.sort_values("basis", ascending=False, kind="stable")
    shown = {"sessions": tuple(PARTS), "clients": ("constant",)}
    rows = tuple(
        (
            Cell("session scores" if row.basis == "sessions" else f"means of clients, {row.window.replace('_', ' ')}"),
            Cell(PARTS.get(row.part, row.part)),
            Cell(row.trait.replace("_", " ") or numbers.UNKNOWN),
            Cell(row.case_mix),
            number_cell(common.estimate_text(row, data.decimals), row.estimate if common.has_number(row) else None),
            number_cell(common.interval_text(row, data.decimals), row.ci_low),
            _p_cell(tested.get((row.basis, row.trait), math.nan) if row.part == "client_specific" else math.nan),
            common.count_cell(row.n_therapists),
            common.count_cell(row.n_clients),
            Cell(said := common.remark(row), said),
        )
        for row in common.tuples(pooled)
        if row.case_mix != SAME_CLIENTS and (row.part == "client_specific" or (row.trait == "" and row.part in shown[row.basis]))
    )
    labels = ("Of", "Part", "Kind of client", "Client factors")
    return Table(
        id="therapist-variance",
        caption="Shares of the variance of the alliance, all therapists within sites",
        columns=(
            *(Column(label) for label in labels),
            Column("Share", True),
            Column(f"{data.level} CI", True),
            Column("p (none)", True, optional=True),
            Column("Therapists", True),
            Column("Clients", True),
            Column("Remark", wide=True, optional=True),
        ),
        rows=rows,
        note="p (none): chance of so much or more if a therapist’s alliance did not depend on the client’s trait at all.",
        empty="No site has therapists with enough clients.",
        folded=True,
    )


def _p_cell(value: float) -> Cell:
    return number_cell(_p(value).removeprefix(f"={numbers.SPACE}") if numbers.known(value) else numbers.UNKNOWN, value)


def benchmark_name(table: str, row: Any) -> str:
    """Return what a figure of the review is about; empty for rows that say it a second time."""
    if row.method.startswith("two_stage") and common.has_number(row):
        return ""
    if table == "variance":
        main = row.part == "client_specific" or not row.trait
        return _variance_name(row) if main and row.basis == "sessions" and row.case_mix == "not held constant" else ""
    if row.topic == "level" and not row.contrast and row.factor_kind in ("attachment", "training"):
        return ""
    if row.topic == "before_after" and row.estimate_type != "mean_difference":
        return ""
    return effect_name(row)


def effect_name(row: Any) -> str:
    """Return what an effect is, in words."""
    if row.topic == "level":
        return f"{factor_words(row)} on {contrast_words(row.contrast) if row.contrast else row.alliance_scale}"
    return f"{factor_words(row)} ({TYPES.get(row.estimate_type, row.estimate_type)})"


def _variance_name(row: Any) -> str:
    of = f", {row.trait.replace('_', ' ')}" if row.trait else ""
    return f"Share of {PARTS.get(row.part, row.part)}{of}"


def missing(data: ReportData, effects: pd.DataFrame, variance: pd.DataFrame) -> tuple[str, ...]:
    """Return what could not be estimated over sites in any way, and what it needs."""
    best = preferred(effects)
    sites = common.site_rows(effects)
    told: dict[str, list[str]] = {}
    for row in common.tuples(best):
        if common.has_number(row):
            continue
        own = common.select(sites, topic=row.topic, factor=row.factor)
        reasons = list(dict.fromkeys(own.loc[own["status"].eq("not_estimable"), "reason"]))
        reason = reasons[0] if len(reasons) == 1 else row.reason
        names = told.setdefault(reason.removeprefix(f"{common.NOT_ESTIMABLE}: "), [])
        if effect_name(row) not in names:
            names.append(effect_name(row))
    lines = [f"{listed(names[: common.NAMED_SUBJECTS])}: {reason}." for reason, names in told.items()]
    return (*lines, *common.not_estimable(data, variance, _variance_name))
