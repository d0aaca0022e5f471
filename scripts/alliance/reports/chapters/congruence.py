"""Do client and therapist see the same, and does it matter?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from alliance.issues import brief
from alliance.questions.congruence.profiles import AS_GIVEN, LESS_MEAN, LIKENESS, WITH_OUTCOME, WITH_STAYING
from alliance.questions.measurement.invariance_rows import may_compare
from alliance.reports import numbers
from alliance.reports.chapters import common, published
from alliance.reports.elements import Cell, Chapter, Column, Figure, Fold, Part, Table, listed, number_cell, slug
from alliance.reports.figures_congruence import Region, surface_map
from alliance.reports.figures_outcome import stacked_shares
from alliance.reports.inputs import ReportData

QUESTION = "congruence"
PREFERRED = "(preferred)"
MULTIVARIATE, ONE_STAGE = "multivariate_reml", "one_stage"
FEWEST_IN_A_CELL = 10
COMMON_SD = "one mean and SD for both raters"
TERMS = {
    "bias": "Bias (SD)",
    "tracking within clients": "Tracking of ups and downs",
    "tracking between clients": "Tracking of differences between clients",
}
PARTS = {"client": "clients", "within_client": "within clients", "between_client": "between clients"}
EFFECTS = {"actor": "own rating", "partner": "the other’s rating", "actor - partner": "own minus the other’s", "partner / actor": "k"}
VERDICTS = {
    "supported": "speaks for the claim",
    "compatible": "is compatible with the claim",
    "not_supported": "speaks against the claim",
    "undecided": "leaves the claim undecided",
}
CLAIMS = {"congruence": "that it is best when both are alike", "complementarity": "that it is best when one is what the other is not"}
FLAT = "curvature as a whole is not sure"
DECISIONS = {"met": "shown", "not_met": "excluded", "undecided": "undecided"}
LIMITS = (
    "The client’s rating stands for the truth by convention; the therapist may see something that the client does not say.",
    "Ratings are measured with error, which makes tracking and partner effects look weaker than they are, and differences between the two "
    "raters look larger.",
    "A difference in level between raters can be a difference in how they use the scale; it is one of the alliance only where the scale "
    "means "
    "the same to both.",
    "Conditions of a claim that no interval excludes are not shown to hold; only those called shown are.",
    "Nobody assigned clients to therapists by how friendly or dominant they are; a surface does not show what another pairing would bring.",
    "Dropout before the sessions that were averaged shortens what is averaged; the surface of dropout takes what was rated.",
)


def build(data: ReportData) -> Chapter:
    """Return the chapter on client and therapist."""
    tables = common.tables_of(data, QUESTION)
    first, second = raters(data)
    higher = higher_sentence(data, tables["agreement"])
    findings = [
        higher,
        agreement_sentence(data, tables["agreement"]),
        likeness_sentence(data, tables["agreement"]),
        tracking_sentence(data, tables["truth_and_bias"]),
        scale_sentence(data, tables["truth_and_bias"]),
        moderator_sentence(data, tables["truth_and_bias"]),
        *partner_sentences(data, tables["actor_partner"]),
        *surface_sentences(data, tables["response_surface"]),
    ]
    return Chapter(
        id="congruence",
        title=f"Do {first} and {second} see the same?",
        question=f"Who rates the alliance higher, does the {second} notice its ups and downs, and does it matter when the two disagree?",
        sources=(QUESTION,),
        headlines=(higher,) if higher else (),
        findings=tuple(sentence for sentence in findings if sentence),
        blocks=(
            *band_figure(data, tables["agreement"]),
            agreement_table(data, tables["agreement"]),
            Part("tracking", f"Does the {second} follow the {first}?", ()),
            tracking_table(data, tables["truth_and_bias"]),
            moderator_table(data, tables["truth_and_bias"]),
            Part("whose-rating", "Whose rating predicts", ()),
            partner_table(data, tables["actor_partner"]),
            Part("surfaces", "Does agreement matter?", ()),
            *maps(data, tables["response_surface"]),
            surface_table(data, tables["response_surface"]),
            *published.words_alone(data, QUESTION),
            *details(data, tables),
        ),
        limits=(*LIMITS, comparison_limit(data, tables["agreement"])),
        missing=missing(data, tables),
    )


def raters(data: ReportData) -> tuple[str, str]:
    """Return the two raters."""
    first, second = data.options["questions"][QUESTION]["raters"]
    return first, second


def surfaces(data: ReportData) -> Iterator[tuple[str, str]]:
    """Yield every surface of the configuration with the level at which it is looked at."""
    for name, content in data.options["questions"][QUESTION]["surfaces"].items():
        for part in ("within_client", "between_client") if content["outcome"] == "symptoms" else ("client",):
            yield name, part


def one_row(table: pd.DataFrame, **keys: str) -> Any:
    """Return the pooled row with the given keys, the one with a number first; None where there is none."""
    rows = list(common.tuples(common.pooled_rows(table, **keys)))
    return next((row for row in rows if common.has_number(row)), rows[0] if rows else None)


def headline_rows(table: pd.DataFrame, data: ReportData) -> pd.DataFrame:
    """Return the rows of the preferred measure, its main scale and the main window."""
    section = data.options["questions"][QUESTION]
    return common.select(table, instrument=PREFERRED, instrument_scale=section["scales"][0], window=section["windows"][0])


def site_rows(data: ReportData) -> pd.DataFrame:
    """Return the rows of the preferred measure for the pages of the sites: agreement and differences, without bands."""
    rows = headline_rows(data.tables[QUESTION]["agreement"], data)
    return rows[rows["estimate_type"].isin(["icc", "concordance", "mean_difference", "limit_of_agreement"])]


def statistic_name(data: ReportData, row: Any) -> str:
    """Return what a row of agreement is of."""
    first, second = raters(data)
    name = f"{first} minus {second}" if row.statistic == "first minus second" else row.statistic
    return common.words(name) + (" (SD)" if row.unit == "sd" else "")


def higher_sentence(data: ReportData, agreement: pd.DataFrame) -> str:
    """Return who rates higher, in one sentence."""
    first, second = raters(data)
    row = one_row(headline_rows(agreement, data), statistic="first minus second")
    if row is None or not common.has_number(row):
        return ""
    shown, ends = numbers.decimal(row.estimate, data.decimals), common.interval_text(row, data.decimals)
    told = f"{first} minus {second} {shown} SD, {data.level} CI {ends}"
    low, high = row.ci_low, row.ci_high
    if numbers.known(low) and low > 0:
        text = f"{first.capitalize()}s rate the alliance higher than their {second}s ({told})"
    elif numbers.known(high) and high < 0:
        text = f"{second.capitalize()}s rate the alliance higher than their {first}s ({told})"
    else:
        who = first if row.estimate > 0 else second
        text = f"On average the {who} rates the alliance higher ({told}), but the interval holds zero: who is higher stays open"
    return f"{text}; {common.plural(row.n_sites, 'site')}, {common.plural(row.n_clients, 'client')}."


def agreement_sentence(data: ReportData, agreement: pd.DataFrame) -> str:
    """Return how far the two agree about a session."""
    own = headline_rows(agreement, data)
    row = one_row(own, statistic="ICC(2,1)")
    if row is None or not common.has_number(row):
        return ""
    text = f"In the same session they agree by {common.sentence_estimate(data, row, 'intraclass correlation')}."
    apart = ""
    low, high = (one_row(own, statistic=f"{side} limit of agreement") for side in ("lower", "upper"))
    if low is not None and high is not None and common.has_number(low) and common.has_number(high):
        first, second = raters(data)
        apart = (
            f"In 95% of sessions {first} minus {second} would be expected to lie between "
            f"{numbers.decimal(low.estimate, data.decimals)} and {numbers.decimal(high.estimate, data.decimals)} SD."
        )
    return " ".join(part for part in (text, common.spread_sentence(data, row), common.caution(row), apart) if part)


def likeness_sentence(data: ReportData, agreement: pd.DataFrame) -> str:
    """Return how alike the two raters' answers are over items, and what that predicts."""
    first, second = raters(data)
    own = headline_rows(agreement, data)
    whole, beyond = (one_row(own, statistic=LIKENESS, definition=definition) for definition in (AS_GIVEN, LESS_MEAN))
    if whole is None or beyond is None or not (common.has_number(whole) and common.has_number(beyond)):
        return ""
    text = (
        f"Do both endorse the same? Over the items of a form, the answers of a {first} and the {second} correlate by "
        f"{numbers.bounded(whole.estimate, data.decimals)} {common.interval_text(whole, data.decimals)} on average; less what {first}s and "
        f"{second}s answer on average, by {numbers.bounded(beyond.estimate, data.decimals)} {common.interval_text(beyond, data.decimals)} "
        f"({common.plural(beyond.n_sites, 'site')}, {common.plural(beyond.n_clients, 'client')})."
    )
    told = []
    for statistic, words in ((WITH_OUTCOME, "the outcome given intake"), (WITH_STAYING, "staying in treatment")):
        row = one_row(own, statistic=statistic)
        if row is not None and common.has_number(row):
            told.append(f"{words} by {numbers.bounded(row.estimate, data.decimals)} {common.interval_text(row, data.decimals)}")
    return f"{text} Such likeness correlates with {' and '.join(told)}." if told else text


def tracking_sentence(data: ReportData, table: pd.DataFrame) -> str:
    """Return how far the judge follows the truth."""
    first, second = raters(data)
    within, between = (one_row(table, term=f"tracking {level} clients", headline="yes") for level in ("within", "between"))
    told = []
    for row, what in ((within, f"a {first}’s ups and downs"), (between, f"differences between {first}s")):
        if row is not None and common.has_number(row):
            told.append(f"{what} by {numbers.decimal(row.estimate, data.decimals)} {common.interval_text(row, data.decimals)}")
    if not told:
        return ""
    return (
        f"Of each point by which the {first}’s rating changes, the {second}’s follows {' and '.join(told)} ({data.level} CI; 1 would be "
        f"in full, "
        "0 not at all)."
    )


def scale_sentence(data: ReportData, table: pd.DataFrame) -> str:
    """Return whether some parts of the alliance are followed better than others."""
    rows = common.pooled_rows(table, estimate_type="tracking_contrast", term="tracking within clients")
    named = [(row.contrast.replace(" - ", " minus "), row) for row in common.tuples(rows[rows["contrast"].str.count("tracking") == 0])]
    return common.contrast_list(data, "Ups and downs are followed better in one part of the alliance than in another by", named)


def moderator_sentence(data: ReportData, table: pd.DataFrame) -> str:
    """Return which moderators change bias or tracking."""
    rows = [
        row for row in common.tuples(common.pooled_rows(table)) if row.moderator and common.has_number(row) and numbers.known(row.ci_low)
    ]
    if not rows:
        return ""
    clear = [row for row in rows if row.ci_low > 0 or row.ci_high < 0]
    if not clear:
        return "None of the moderators changes bias or tracking by more than chance would; none is thereby shown not to."
    told = [
        f"{common.words(row.moderator).lower()} ({'bias' if row.term == 'bias' else 'tracking'} "
        f"{numbers.decimal(row.estimate, data.decimals)} "
        f"{common.interval_text(row, data.decimals)})"
        for row in clear
    ]
    return f"What goes with misjudgement (per SD, {data.level} CI), without correction for the number of moderators: {listed(told)}."


def partner_sentences(data: ReportData, table: pd.DataFrame) -> list[str]:
    """Return whose rating predicts what: a sentence an outcome where an interval leaves out zero, one for all others."""
    told, open_ones = [], []
    for (explained, whose, part), rows in common.rows_by(common.pooled_rows(table), ("explained", "explained_rater", "part")):
        found = {row.effect: row for row in common.tuples(rows)}
        own, other = found.get("actor"), found.get("partner")
        if own is None or other is None or not (common.has_number(own) and common.has_number(other)):
            continue
        clear = [EFFECTS[row.effect] for row in (own, other) if row.ci_low > 0 or row.ci_high < 0]
        if not clear:
            open_ones.append(f"{explained} ({whose}, {PARTS[part]})")
            continue
        told.append(
            f"{common.words(explained)} ({whose}, {PARTS[part]}): own rating {numbers.decimal(own.estimate, data.decimals)} "
            f"{common.interval_text(own, data.decimals)}, the {other.predictor_rater}’s {numbers.decimal(other.estimate, data.decimals)} "
            f"{common.interval_text(other, data.decimals)}; the interval of {listed(clear)} leaves out zero."
        )
    if open_ones:
        told.append(
            f"The intervals of own and the other’s rating as predictors hold zero, which shows no absence, for: {'; '.join(open_ones)}."
        )
    return told


def label(data: ReportData, name: str, part: str = "client") -> str:
    """Return what a surface is called."""
    content = data.options["questions"][QUESTION]["surfaces"].get(name, {})
    told = content.get("label") or common.words(name)
    return told if part == "client" else f"{told}, {PARTS[part]}"


def chosen(data: ReportData, table: pd.DataFrame, name: str, part: str) -> pd.DataFrame:
    """Return the pooled rows of a surface: coefficients pooled over sites, where there are enough of them, else the rows of all sites."""
    rows = common.pooled_rows(table, surface=name, part=part)
    usable = rows[rows["status"].isin(["estimated", "flagged"])]
    pooled = usable[usable["method"].eq(MULTIVARIATE)]
    enough = len(pooled) and int(pooled["n_sites"].max()) >= data.options["pooling"]["headline_sites"]
    for method in (MULTIVARIATE, ONE_STAGE) if enough else (ONE_STAGE, MULTIVARIATE):
        own = usable[usable["method"].eq(method)]
        if len(own):
            return own
    return usable.iloc[:0]


def surface_sentences(data: ReportData, table: pd.DataFrame) -> list[str]:
    """Return what the surfaces say of their claims: a sentence each where they say something, one for all that leave it undecided."""
    told, undecided = [], []
    for name, part in surfaces(data):
        rows = chosen(data, table, name, part)
        row = next(iter(common.tuples(common.select(rows, term="verdict"))), None)
        if row is None:
            continue
        if row.decision == "undecided":
            undecided.append(label(data, name, part))
            continue
        fall = next(iter(common.tuples(common.select(rows, term="a4" if row.kind == "congruence" else "a2", index=""))), None)
        parts = []
        if fall is not None:
            parts.append(
                f"curvature across the line {numbers.decimal(fall.estimate, data.decimals)} {common.interval_text(fall, data.decimals)}"
            )
        if flat(row):
            parts.append(f"{FLAT}, so that the axes decide nothing")
        where = "rows of all sites at once" if row.method == ONE_STAGE else common.plural(row.n_sites, "site")
        parts.append(f"{where}, {common.plural(row.n_clients, 'client')}")
        told.append(f"{label(data, name, part)}: the surface {VERDICTS[row.decision]} {CLAIMS[row.kind]} ({'; '.join(parts)}).")
    if undecided:
        told.append(f"Whether it matters that both are alike, or opposite, stays undecided for: {'; '.join(undecided)}.")
    return told


def flat(row: Any) -> bool:
    """Tell whether an axis, a condition or a verdict rests on a surface without sure curvature."""
    return "no sure curvature" in row.reason


def band_rows(data: ReportData, agreement: pd.DataFrame) -> dict[str, Any]:
    """Return the pooled shares of clients by who is higher; none where one of them holds fewer than ten clients."""
    first, second = raters(data)
    own = common.select(headline_rows(agreement, data), definition=COMMON_SD)
    rows = {name: one_row(own, statistic=name) for name in ("agree", f"{first} higher", f"{second} higher")}
    enough = (row is not None and common.has_number(row) and row.estimate * row.n_clients >= FEWEST_IN_A_CELL for row in rows.values())
    return rows if all(enough) else {}


def band_figure(data: ReportData, agreement: pd.DataFrame) -> list[Figure]:
    """Return the shares of clients by who is higher."""
    section = data.options["questions"][QUESTION]
    first, second = raters(data)
    rows = band_rows(data, agreement)
    if not rows:
        return []
    scale, values = section["scales"][0], [row.estimate for row in rows.values()]
    told = ", ".join(f"{name} {numbers.percent(row.estimate)}" for name, row in rows.items())
    return [
        Figure(
            id="congruence-bands",
            title=f"Clients of whom {first} and {second} agree within {section['band']:g} SD, and of whom one is higher",
            alt=f"Shares of clients. {scale}: {told}.",
            svg=stacked_shares([common.words(scale)], list(rows), [[value / sum(values) for value in values]], narrow=True),
            note="Shares pooled over sites one by one, as the table tells them with their intervals, here scaled to 100%.",
        )
    ]


def value(data: ReportData, row: Any) -> Cell:
    """Return an estimate with its interval in one cell."""
    if row is None or not common.has_number(row):
        return Cell(numbers.UNKNOWN, "")
    ends = common.interval_text(row, data.decimals)
    shown = common.estimate_text(row, data.decimals)
    return number_cell(f"{shown} {ends}" if ends != numbers.UNKNOWN else shown, row.estimate)


def short_columns(data: ReportData, label: str) -> tuple[Column, ...]:
    """Return the columns that :func:`short_cells` fills."""
    heads = (Column(f"{label} ({data.level} CI)", True), Column("Prediction interval", True, optional=True), Column("Sites", True))
    return (*heads, Column("Clients", True), Column("Remark", wide=True, optional=True))


def short_cells(data: ReportData, row: Any) -> tuple[Cell, ...]:
    """Return the cells of a pooled estimate: number with interval, prediction interval, counts, reason."""
    ahead = common.interval_text(row, data.decimals, "prediction_low", "prediction_high")
    counts = (common.count_cell(row.n_sites), common.count_cell(row.n_clients))
    return (value(data, row), number_cell(ahead, row.prediction_low), *counts, Cell(common.remark(row)))


def band_words(data: ReportData) -> dict[str, str]:
    """Return what the shares of clients are of: who agrees within the band, and who is higher by more than that."""
    first, second = raters(data)
    band = f"{data.options['questions'][QUESTION]['band']:g}{numbers.SPACE}SD"
    higher = {f"{one} higher": f"Clients of whom the {one} is higher by more" for one in (first, second)}
    return {"agree": f"Clients of whom both agree within {band}", **higher}


def agreement_table(data: ReportData, agreement: pd.DataFrame) -> Table:
    """Return agreement and differences pooled: of the main scale all, of the others the coefficient and who is higher."""
    first, second = raters(data)
    section = data.options["questions"][QUESTION]
    every = ("ICC(2,1)", "concordance", "first minus second", "lower limit of agreement", "upper limit of agreement")
    words = {"first minus second": f"{first} minus {second} (SD)"}
    rows = []
    for place, scale in enumerate(section["scales"]):
        for statistic in every if not place else (every[0], every[2]):
            keys = {"instrument_scale": scale, "window": section["windows"][0], "statistic": statistic}
            for row in common.tuples(common.pooled_rows(agreement, instrument=PREFERRED, **keys)):
                name = words.get(statistic, f"{statistic} (SD)" if "limit" in statistic else statistic)
                rows.append((Cell(common.words(scale)), Cell(common.words(name)), *short_cells(data, row)))
        if not place:
            names = band_words(data)
            rows += [
                (Cell(common.words(scale)), Cell(names[statistic]), *short_cells(data, row))
                for statistic, row in band_rows(data, agreement).items()
            ]
    return Table(
        "congruence-agreement",
        f"How far {first} and {second} agree, pooled over sites",
        (Column("Scale"), Column("Statistic"), *short_columns(data, "Estimate")),
        tuple(rows),
        note=f"Alliance in the window “{section['windows'][0].replace('_', ' ')}”. "
        "Differences are in SD of both raters together at the site. "
        "Clients are counted by the means of their sessions.",
        empty=f"No two sites have the same scale of {first} and {second}.",
    )


def tracking_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return bias and tracking of the main scale, tracking of the others and how they differ, pooled."""
    own = common.pooled_rows(table)
    own = own[own["moderator"].eq("") & own["term"].isin(list(TERMS))]
    within = own["term"].eq("tracking within clients")
    rows = []
    first, second = raters(data)
    order = [*data.options["questions"][QUESTION]["scales"], ""]
    shown = common.tuples(own[own["headline"].eq("yes") | within])
    for row in sorted(shown, key=lambda row: (order.index(row.instrument_scale), bool(row.contrast), list(TERMS).index(row.term))):
        about = common.words(row.instrument_scale) if row.instrument_scale else row.contrast.replace(" - ", " minus ")
        what = row.contrast.replace(" - ", " minus ") if row.instrument_scale and row.contrast else TERMS[row.term]
        rows.append((Cell(common.words(about)), Cell(common.words(what)), *short_cells(data, row)))
    return Table(
        "congruence-tracking",
        "Directional bias and tracking, pooled over sites",
        (Column("Scale"), Column("What"), *short_columns(data, "Estimate")),
        tuple(rows),
        note=f"Bias is above zero where the {second} rates higher than the {first}. Tracking is 1 where the {second} follows in full, 0 "
        "where not at all. Bias of the other scales stands in the table of results.",
        empty="Bias and tracking could not be estimated at two sites.",
    )


def moderator_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return what changes bias and tracking, pooled: a row a moderator."""
    own = common.pooled_rows(table)
    rows = []
    for (moderator,), found in common.rows_by(own[own["moderator"].ne("")], ("moderator",)):
        bias, tracking = (next(iter(common.tuples(common.select(found, term=term))), None) for term in ("bias", "tracking within clients"))
        counted = bias if bias is not None else tracking
        said = dict.fromkeys(common.remark(row) for row in (bias, tracking) if row is not None and common.remark(row))
        cells = (value(data, bias), value(data, tracking), common.count_cell(counted.n_sites), common.count_cell(counted.n_clients))
        rows.append((Cell(common.words(moderator)), *cells, Cell("; ".join(said))))
    heads = (Column(f"Bias ({data.level} CI)", True), Column(f"Tracking within clients ({data.level} CI)", True))
    return Table(
        "congruence-moderators",
        "What changes bias and tracking",
        (Column("Moderator"), *heads, Column("Sites", True), Column("Clients", True), Column("Remark", wide=True, optional=True)),
        tuple(rows),
        note="Per SD of the moderator over clients; for the number of the session per session.",
        empty="No moderator was sent by two sites.",
    )


def partner_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return actor and partner effects pooled: a row an outcome and level."""
    rows = []
    for (explained, whose, part), found in common.rows_by(common.pooled_rows(table), ("explained", "explained_rater", "part")):
        of = {row.effect: row for row in common.tuples(found)}
        counted = of["actor"]
        cells = [value(data, of.get(effect)) for effect in EFFECTS]
        about = f"{common.words(explained)} ({whose})"
        rows.append((Cell(about), Cell(PARTS[part]), *cells, common.count_cell(counted.n_sites), common.count_cell(counted.n_clients)))
    heads = [Column(f"{common.words(words)} ({data.level} CI)" if words != "k" else "k", True) for words in EFFECTS.values()]
    return Table(
        "congruence-partner",
        "Own and the other’s rating of the alliance as predictors, pooled over sites",
        (Column("Predicted"), Column("Level"), *heads, Column("Sites", True), Column("Clients", True)),
        tuple(rows),
        note="In SD of the site; higher outcomes are better. One’s own rating shares the rater with what is predicted, the other’s does "
        "not. k is "
        "the other’s effect over one’s own (1: both count alike, 0: only one’s own), given only where one’s own differs from zero.",
        empty="Actor and partner effects could not be estimated at two sites.",
    )


def maps(data: ReportData, table: pd.DataFrame) -> list[Figure]:
    """Return one surface seen from above: the first that speaks for its claim, else the first that could be estimated."""
    drawn = []
    for name, part in surfaces(data):
        figure = surface_figure(data, table, name, part)
        verdict = next(iter(common.tuples(common.select(chosen(data, table, name, part), term="verdict"))), None)
        if figure is not None and verdict is not None:
            drawn.append((verdict.decision not in ("supported", "compatible"), len(drawn), figure))
    return [min(drawn)[2]] if drawn else []


def surface_figure(data: ReportData, table: pd.DataFrame, name: str, part: str) -> Figure | None:
    """Return one surface seen from above; None where it was not estimated or where its data lie is not known."""
    rows = chosen(data, table, name, part)
    known = {row.term: row.estimate for row in common.tuples(rows[rows["index"].eq("")])}
    region = {row.term: row.estimate for row in common.tuples(common.pooled_rows(table, surface=name, part=part)) if common.has_number(row)}
    places = ("x_mean", "y_mean", "x_sd", "y_sd", "xy_correlation")
    if not all(f"b{place}" in known for place in range(1, 6)) or not all(place in region for place in places):
        return None
    content = data.options["questions"][QUESTION]["surfaces"][name]
    complementary = content["kind"] == "complementarity"
    middle = "in the middle of the scale" if of_scale(data, content, part) else "at the mean of both together"
    # Every site has a level of its own: the surface is told from where both are average.
    b = [0.0, *(known.get(f"b{place}", 0.0) for place in range(1, 6))]
    words = [side_words(content[side]) for side in ("x", "y")]
    outcome = {"dropout": "Log odds of staying in treatment", "alliance": "Early alliance (SD)"}.get(
        content["outcome"], f"{common.words(content['outcome'])} (SD)"
    )
    verdict = next(iter(common.tuples(common.select(rows, term="verdict"))), None)
    curved = verdict is not None and not flat(verdict)
    ridge = (known["p10"], known["p11"]) if curved and "p10" in known and "p11" in known else None
    told = f"The surface {VERDICTS[verdict.decision]} {CLAIMS[content['kind']]}." if verdict is not None else ""
    alt = (
        f"Response surface of {outcome[:1].lower()}{outcome[1:]} by {words[0]} and {words[1]}: slope along the line of agreement "
        f"{numbers.decimal(known.get('a1'), data.decimals)}, curvature {numbers.decimal(known.get('a2'), data.decimals)}; across it slope "
        f"{numbers.decimal(known.get('a3'), data.decimals)}, curvature {numbers.decimal(known.get('a4'), data.decimals)}. {told}"
    )
    return Figure(
        id=f"surface-{slug(name)}-{slug(part)}",
        title=label(data, name, part),
        alt=alt,
        svg=surface_map(
            b,
            Region(*(region[place] for place in places)),
            x_label=f"{common.words(words[0])} (SD)",
            y_label=f"{words[1]} (SD)",
            outcome=f"Difference in {outcome[:1].lower()}{outcome[1:]}",
            opposite=complementary,
            ridge=ridge,
        ),
        note="Expected values in bands over the ellipse in which about 86% of cases lie, as differences from what is expected where both "
        f"are {middle}; both are measured from there in one SD.",
    )


def side_words(side: str) -> str:
    """Return a side of a surface in words: ``clients.dominance`` becomes ``client’s dominance``."""
    whose, _, what = side.partition(".")
    if whose == "alliance":
        return f"alliance rated by the {what}"
    return f"{whose.removesuffix('s')}’s {what.replace('_', ' ')}"


def of_scale(data: ReportData, content: Mapping[str, str], part: str) -> bool:
    """Tell whether both sides of a surface are measured from the midpoint of the scale, not from their mean."""
    midpoint = data.options["questions"][QUESTION]["centre"] == "midpoint"
    return midpoint and content["x"].startswith("alliance.") and part != "within_client"


def surface_table(data: ReportData, table: pd.DataFrame) -> Table:
    """Return the lines of every surface and what it says of its claim."""
    rows = []
    for name, part in surfaces(data):
        own = chosen(data, table, name, part)
        verdict = next(iter(common.tuples(common.select(own, term="verdict"))), None)
        if verdict is None:
            reasons = [row.reason for row in common.tuples(common.pooled_rows(table, surface=name, part=part, term="verdict"))]
            said = brief(reasons[0].removeprefix("not estimable: "), common.REMARK_CHARACTERS) if reasons else "not estimated"
            rows.append((Cell(label(data, name, part)), Cell(f"Not estimable: {said}"), *(Cell(numbers.UNKNOWN, ""),) * 6))
            continue
        claim = f"{common.words(VERDICTS[verdict.decision])} {CLAIMS[verdict.kind]}" + (
            f"; {FLAT}" if flat(verdict) and verdict.decision != "undecided" else ""
        )
        cells = [Cell(label(data, name, part)), Cell(claim)]
        for term in ("a1", "a2", "a3", "a4"):
            row = next(iter(common.tuples(common.select(own, term=term, index=""))), None)
            shown = f"{numbers.decimal(row.estimate, data.decimals)} {common.interval_text(row, data.decimals)}" if row else numbers.UNKNOWN
            cells.append(number_cell(shown, row.estimate if row else None))
        cells += [common.count_cell(verdict.n_clients), Cell("rows of all sites" if verdict.method == ONE_STAGE else "pooled")]
        rows.append(tuple(cells))
    heads = (f"a1: slope along agreement ({data.level} CI)", "a2: curvature along it", "a3: slope across it", "a4: curvature across it")
    return Table(
        "congruence-surfaces",
        "Response surfaces and what they say",
        (Column("Surface"), Column("Claim", wide=True), *(Column(head, True) for head in heads), Column("Clients", True), Column("From")),
        tuple(rows),
        note="For complementarity the line of the claim is that of opposites: a2 is the curvature across it, a1 the slope.",
        empty="No surface is configured.",
    )


def condition_words(data: ReportData, row: Any) -> str:
    """Return one condition of a claim; an axis of a surface without sure curvature may lie anywhere, and is not told."""
    if flat(row):
        return f"{row.term}: open, no sure curvature"
    return (
        f"{row.term}: {numbers.decimal(row.estimate, data.decimals)} {common.interval_text(row, data.decimals)}, {DECISIONS[row.decision]}"
    )


def reliability_words(data: ReportData, table: pd.DataFrame, name: str, part: str) -> str:
    """Return how reliable both ratings, their squares and their product are, and which are low."""
    rows = common.pooled_rows(table, surface=name, part=part, index="reliability")
    found = {row.term: row for row in common.tuples(rows) if common.has_number(row)}
    if not found:
        return "not known: needs answers to items"
    words = {"b1": "x", "b2": "y", "b3": "x²", "b4": "xy", "b5": "y²"}
    low = data.options["questions"][QUESTION]["low_reliability"]
    told = (
        f"{words[term]} {numbers.bounded(row.estimate, data.decimals)}{' (low)' if row.estimate < low else ''}"
        for term, row in sorted(found.items())
    )
    return ", ".join(told)


def details(data: ReportData, tables: dict[str, pd.DataFrame]) -> list[Fold]:
    """Return the conditions of every claim, and simpler models, for the reader who opens them."""
    table = tables["response_surface"]
    rows = []
    for name, part in surfaces(data):
        own = chosen(data, table, name, part)
        told = [numbers.typeset(condition_words(data, row)) for row in common.tuples(common.select(own, index="condition"))]
        weights = common.pooled_rows(table, surface=name, part=part, index="weight")
        best = weights[weights["status"].isin(["estimated", "flagged"])].sort_values("estimate", ascending=False, kind="stable").head(3)
        models = "; ".join(f"{row.term} {numbers.bounded(row.estimate, data.decimals)}" for row in common.tuples(best))
        if told:
            cells = (Cell("; ".join(told)), Cell(reliability_words(data, table, name, part)), Cell(models or numbers.UNKNOWN, models))
            rows.append((Cell(label(data, name, part)), *cells))
    if not rows:
        return []
    section = data.options["questions"][QUESTION]
    heads = (Column("Surface"), Column("Conditions", wide=True), Column("Reliability of terms", wide=True))
    heads = (*heads, Column("Models with most support", wide=True))
    note = (
        f"Equalities are shown where the parameter lies inside {section['axis_bound']:g} (axes) or {section['slope_bound']:g} (slopes) of "
        "the "
        "value. Error draws coefficients of less reliable terms towards zero. Support is by Akaike weights of models of the sites’ rows: "
        "null, first only, second only, additive, interaction, squared difference, rising ridge, full."
    )
    made = Table("congruence-conditions", "Conditions of the claims and simpler models", heads, tuple(rows), note=note)
    return [Fold("congruence-details", "Conditions of each claim and simpler models", (made,))]


def comparison_limit(data: ReportData, agreement: pd.DataFrame) -> str:
    """Return what the test of measurement invariance over raters allows of means."""
    invariance = common.table_of(data, "measurement", "invariance")
    named = [name for name in dict.fromkeys(agreement["instrument"]) if name not in ("", PREFERRED)]
    told = [f"{common.instrument_name(name)}: {may_compare(invariance, name, 'raters')}" for name in named]
    return (
        f"Whether levels of the two raters may be compared was tested under Measurement. {'; '.join(told)}."
        if told
        else ("Whether levels of the two raters may be compared was not tested.")
    )


def missing(data: ReportData, tables: dict[str, pd.DataFrame]) -> tuple[str, ...]:
    """Return what could not be estimated and what it needs."""
    names = {
        "agreement": lambda row: f"agreement, {row.instrument_scale} ({common.instrument_name(row.instrument)})",
        "truth_and_bias": lambda row: row.moderator.replace("_", " ") or f"{row.term}, {row.instrument_scale or row.contrast}",
        "actor_partner": lambda row: f"{EFFECTS[row.effect]} and {row.explained} ({row.explained_rater}, {PARTS[row.part]})",
    }
    # Without an actor effect there is no ratio, whatever the data.
    tables = {**tables, "actor_partner": tables["actor_partner"][tables["actor_partner"]["effect"].ne("partner / actor")]}
    told = [sentence for table, name in names.items() for sentence in common.not_estimable(data, tables[table], name)]
    surface = tables["response_surface"]
    lacking = [(name, part) for name, part in surfaces(data) if chosen(data, surface, name, part).empty]
    for name, part in lacking:
        rows = list(common.tuples(common.pooled_rows(surface, surface=name, part=part, term="verdict")))
        if rows:
            told.append(f"{label(data, name, part)}: {rows[0].reason.removeprefix('not estimable: ')}.".replace("..", "."))
    return tuple(told)
