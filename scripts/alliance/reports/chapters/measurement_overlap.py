"""Parts of the chapter on measurement: how much the measures share, who measures what, whether they predict the outcome equally."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance.instruments.content import content_matrix
from alliance.reports import figures_measurement, numbers
from alliance.reports.chapters import common
from alliance.reports.chapters.measurement_reliability import PREFERRED, Blocks, with_number
from alliance.reports.chapters.outcome_parts import DECISIONS, minus
from alliance.reports.elements import Cell, Column, Figure, Part, Table, listed, number_cell
from alliance.reports.inputs import ReportData

QUESTION = "convergent_validity"
PAIR = ("level", "comparison", "instrument1", "scale1", "rater1", "instrument2", "scale2", "rater2", "derived")
LEVELS = {"total": "total scales", "subscale": "subscales"}
KINDS = {"all": "all", "parallel": "meant to measure the same", "non_parallel": "meant to measure different things"}
ENDS = ("minimum", "mean", "maximum")
SMALLEST_LARGEST = {"minimum": "smallest", "mean": "mean", "maximum": "largest"}
MEANING = (
    "What they do not share is error of measurement or a different side of the alliance: one measure can stand for another only so far."
)
MOST_MEASURES = 24
MOST_ROWS = 60
FOLDED_ROWS = 20
RATER_WORDS = {"all": "all together"}
APPROACHES = "homogeneous - blended"
FORMS = {"zero_order": "simple correlation", "ancova": "given the intake level"}


def pairs_of(data: ReportData) -> pd.DataFrame:
    """Return the pairs of measures, at every site and pooled."""
    return common.table_of(data, QUESTION, "pairs")


def pair_label(row: Any) -> str:
    """Return the two measures of a pair."""
    if row.rater1 == row.rater2:
        return f"{common.measure(row.instrument1, row.scale1)} and {common.measure(row.instrument2, row.scale2)}, {row.rater1}"
    return f"{common.measure(row.instrument1, row.scale1, row.rater1)} and {common.measure(row.instrument2, row.scale2, row.rater2)}"


def overlap_rows(data: ReportData, level: str, rater: str, kind: str = "all") -> dict[str, Any]:
    """Return smallest, mean and largest shared variance of pairs of two instruments: the mean over sites, the ends over pooled pairs.

    The mean of the pooled pairs, between these ends, is ``pairs_mean``.
    """
    rows = common.pooled_rows(common.table_of(data, QUESTION, "overlap_summary"), level=level, rater=rater, pairs_kind=kind, instrument="")
    found = {}
    for name in ENDS:
        own = common.select(rows, estimate_type=f"r_squared_{name}")
        bases = ("sites", "pairs") if name == "mean" else ("pairs",)
        choice = [row for basis in bases for row in common.tuples(common.select(own, basis=basis))]
        if choice:
            found[name] = next((row for row in choice if common.has_number(row)), choice[0])
    over_pairs = common.select(rows, estimate_type="r_squared_mean", basis="pairs")
    return found | ({"pairs_mean": next(common.tuples(over_pairs))} if len(over_pairs) else {})


def overlap_sentence(data: ReportData, level: str) -> str:
    """Return how much variance pairs of one level share, over all raters; empty where nothing was estimated."""
    found = overlap_rows(data, level, "all")
    if not set(ENDS) <= set(found) or not all(common.has_number(row) for row in found.values()):
        return ""
    mean, low, high = found["mean"], found["minimum"], found["maximum"]
    lead = f"Pairs of {LEVELS[level]} from two instruments rated by the same person share"
    smallest, largest = numbers.percent(low.estimate), numbers.percent(high.estimate)
    ends = f"from {smallest} to {largest}" if smallest != largest else f"each {smallest}"
    pairs = common.plural(low.n_pairs, "pair")
    over_pairs = found.get("pairs_mean")
    if mean.basis != "sites":
        return f"{lead} {numbers.percent(mean.estimate)} of their variance on average ({ends}; {pairs} pooled one by one)."
    known = numbers.known(mean.ci_low) and numbers.known(mean.ci_high)
    over_sites = numbers.percent(mean.estimate) + (f", {data.level} CI {_share_interval(mean)}" if known else "")
    if over_pairs is None or not common.has_number(over_pairs):
        return (
            f"{lead} {over_sites} of their variance on average, in the mean of {common.plural(mean.n_sites, 'site')}. {pairs} could be "
            f"pooled one by one: {ends}."
        )
    return (
        f"{lead} {numbers.percent(over_pairs.estimate)} of their variance on average ({ends}; {pairs} pooled one by one). The mean of "
        f"{common.plural(mean.n_sites, 'site')}, each with all pairs that it has, is {over_sites}."
    )


def findings(data: ReportData) -> list[str]:
    """Return how much measures share."""
    total = overlap_sentence(data, "total")
    return [sentence for sentence in (f"{total} {MEANING}" if total else "", overlap_sentence(data, "subscale")) if sentence]


def beside_the_review(data: ReportData) -> str:
    """Return the overlap of sets of pairs beside the review's figures; empty where it says nothing about them."""
    told = []
    for level, scales in LEVELS.items():
        for rater in ("client", "therapist", "observer", "all"):
            shown = [
                f"{SMALLEST_LARGEST[name]} {numbers.percent(row.estimate)} ({numbers.percent(row.published)})"
                for name, row in overlap_rows(data, level, rater).items()
                if name in SMALLEST_LARGEST and common.has_number(row) and numbers.known(row.published)
            ]
            if shown:
                told.append(f"{scales}, {'all raters' if rater == 'all' else rater}: {', '.join(shown)}")
    return f"Shared variance beside the review’s figure in parentheses: {'; '.join(told)}." if told else ""


def contrast_sentences(data: ReportData) -> list[str]:
    """Return whether parallel subscales share more than others, whether clients' measures share more than therapists', and whether the
    scales of homogeneous instruments hang together more."""
    summary = common.pooled_rows(common.table_of(data, QUESTION, "overlap_summary"))
    sentences = []
    for row in common.tuples(with_number(common.select(summary, estimate_type="r_squared_contrast"))):
        if row.pairs_kind == "parallel - non_parallel":
            who = "" if row.rater == "all" else f" rated by the {row.rater}"
            means = [overlap_rows(data, row.level, row.rater, kind).get("mean") for kind in ("parallel", "non_parallel")]
            shares = ""
            if all(one is not None and common.has_number(one) for one in means):
                shares = f" ({numbers.percent(means[0].estimate)} against {numbers.percent(means[1].estimate)})"
            what = f"Subscales{who} that are meant to measure the same against those that are not{shares}"
            clear = ("they share more, as their names promise", "they share less, against what their names promise")
        elif row.rater == "client - therapist":
            what = f"{common.words(LEVELS[row.level])} rated by clients against those rated by therapists"
            clear = ("clients’ measures share more", "therapists’ measures share more")
        else:
            continue
        verdict = clear[0] if row.ci_low > 0 else clear[1] if row.ci_high < 0 else "which share more cannot be told"
        ends = f"{data.level} CI [{numbers.points(row.ci_low)}, {numbers.points(row.ci_high)}]"
        sentences.append(f"{what}: difference of mean shared variance {numbers.points(row.estimate)}, {ends}; {verdict}.")
    chosen = approach_rows(common.select(summary, approach=APPROACHES, estimate_type="correlation_contrast"))
    named = [(row.rater if row.rater != "all" else "all raters", row) for row in common.tuples(chosen)]
    lead = "Mean correlation of the scales of one instrument, homogeneous minus blended instruments"
    told = common.contrast_list(data, lead, named)
    limit = " Below zero, the scales of blended instruments correlate more. Approaches differ in instruments and raters too."
    return [*sentences, f"{told}{limit}" if told else ""]


def approach_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the difference of homogeneous and blended instruments once a rater: over all sites where that could be estimated."""
    return (
        rows.assign(_place=rows["method"].ne("difference_of_means"))
        .sort_values("_place", kind="stable")
        .drop_duplicates(["rater", "estimate_type"])
        .drop(columns="_place")
        .sort_index()
    )


def overlap(data: ReportData) -> Blocks:
    """Return how much the measures share: maps, ranges, pairs, scales of one instrument."""
    pairs = pairs_of(data)
    if pairs.empty and common.table_of(data, QUESTION, "overlap_summary").empty:
        return []
    sentences = [beside_the_review(data), *contrast_sentences(data), *rater_sentences(data)]
    return [
        Part("measurement-overlap", "How much do the measures share?", tuple(sentence for sentence in sentences if sentence)),
        *maps(data),
        overlap_table(data),
        *within_table(data),
        pair_table(data, "total", "instruments", "Total scales of two instruments, one rater"),
        pair_table(data, "total", "raters", "One instrument’s total scale, two raters"),
        pair_table(data, "subscale", "instruments", "Subscales of two instruments, one rater"),
        *(
            pair_table(data, "subscale", comparison, caption)
            for comparison, caption in (
                ("raters", "One instrument’s subscales, two raters"),
                ("scales", "Subscales of one instrument, one rater"),
            )
            if len(common.pooled_rows(pairs, level="subscale", comparison=comparison))
        ),
    ]


def rater_sentences(data: ReportData) -> list[str]:
    """Return the strongest and the weakest agreement between raters on one instrument."""
    rows = common.select(common.pooled_rows(pairs_of(data)), level="total", comparison="raters", estimate_type="correlation")
    estimated = with_number(rows).sort_values("estimate", kind="stable")
    if estimated.empty:
        return []
    low, high = (next(common.tuples(estimated.iloc[[position]])) for position in (0, -1))
    if len(estimated) == 1:
        return [f"Two raters of one instrument: {pair_label(low)}, {common.sentence_estimate(data, low, 'r')}."]
    apart = numbers.known(low.ci_high) and numbers.known(high.ci_low) and low.ci_high < high.ci_low
    unsure = "" if apart else " Their intervals overlap: which raters agree more is not known."
    return [
        f"Two raters agree least for {pair_label(low)} ({common.sentence_estimate(data, low, 'r')}) and most for {pair_label(high)} "
        f"({common.sentence_estimate(data, high, 'r')}).{unsure}"
    ]


def overlap_table(data: ReportData) -> Table:
    """Return smallest, mean and largest shared variance by level, rater and kind of pair; sets of pairs without any stand in the note."""
    rows = []
    absent: dict[str, list[str]] = {}
    kinds = set(common.table_of(data, QUESTION, "overlap_summary")["pairs_kind"])
    for level, scales in LEVELS.items():
        for kind, kind_words in KINDS.items() if "parallel" in kinds else (("all", ""),):
            for rater in ("all", "client", "therapist", "observer"):
                found = overlap_rows(data, level, rater, kind)
                if not found:
                    continue
                if not any(map(common.has_number, found.values())):
                    name = ", ".join(one for one in (scales, kind_words.replace("all", ""), RATER_WORDS.get(rater, rater)) if one)
                    absent.setdefault(common.remark(found.get("mean") or next(iter(found.values()))), []).append(name)
                    continue
                rows.append(_overlap_cells(found, (common.words(scales), kind_words, RATER_WORDS.get(rater, rater))))
    silent = "".join(f" Not estimable: {'; '.join(names)} ({reason[:1].lower()}{reason[1:]})." for reason, names in absent.items())
    return Table(
        id="overlap",
        caption="Variance that pairs of alliance measures share (two instruments, one rater)",
        columns=(
            Column("Scales"),
            Column("Pairs that are", wide=True, optional=True),
            Column("Rater"),
            Column("Pairs pooled one by one", True),
            Column("Smallest", True),
            Column("Mean of these pairs", True, optional=True),
            Column("Largest", True),
            Column("Mean over sites", True, optional=True),
            Column(f"{data.level} CI", True, optional=True),
            Column("Sites", True, optional=True),
            Column("Remark", wide=True, optional=True),
        ),
        rows=tuple(rows),
        note="Shared variance is the squared correlation. Smallest, mean and largest are of the pairs that could be pooled one by one. The "
        "mean over sites is another mean: of each site’s pairs, also of those that no second site has, so it need not lie between "
        "smallest and largest. Pairs that share items (a short form and its long form), and short forms scored from a long form, are "
        f"left out. Which scales are meant to measure the same: “Who measures what?”.{silent}",
        empty=f"No two alliance measures could be compared.{silent}",
    )


def _overlap_cells(found: Mapping[str, Any], names: tuple[str, ...]) -> tuple[Cell, ...]:
    """Return the cells of one set of pairs."""
    ends, mean = found.get("minimum"), found.get("mean")
    pooled = ends is not None and common.has_number(ends)
    known = mean is not None and mean.basis == "sites" and common.has_number(mean)
    remarks = [common.remark(mean), common.width_remark(mean)] if known else [common.remark(mean if mean is not None else ends)]
    if not pooled:
        remarks.append("No single pair could be pooled over sites")
    return (
        *(Cell(name) for name in names),
        common.count_cell(ends.n_pairs if pooled else 0),
        *(_share_cell(found.get(name)) for name in ("minimum", "pairs_mean", "maximum")),
        _share_cell(mean if known else None),
        number_cell(_share_interval(mean) if known else numbers.UNKNOWN, mean.ci_low if known else None),
        common.count_cell(mean.n_sites if known else None),
        Cell("; ".join(remark for remark in remarks if remark)),
    )


def _share_interval(row: Any) -> str:
    if not (numbers.known(row.ci_low) and numbers.known(row.ci_high)):
        return numbers.UNKNOWN
    return f"[{numbers.percent(row.ci_low)},{numbers.SPACE}{numbers.percent(row.ci_high)}]"


def _share_cell(row: Any) -> Cell:
    if row is None or not common.has_number(row):
        return Cell(numbers.UNKNOWN, "")
    return number_cell(numbers.percent(row.estimate), row.estimate)


def within_table(data: ReportData) -> list[Table]:
    """Return how strongly the scales of one instrument correlate, by instrument and rater."""
    summary = common.pooled_rows(common.table_of(data, QUESTION, "overlap_summary"), pairs_kind="within_instrument")
    contrasts = summary["approach"].eq(APPROACHES)
    summary = pd.concat([summary[~contrasts], approach_rows(summary[contrasts])])
    rows = []
    for (instrument, approach, rater), group in common.rows_by(summary, ("instrument", "approach", "rater")):
        found = {row.estimate_type: row for row in common.tuples(group) if common.has_number(row)}
        mean = found.get("correlation_mean") or found.get("correlation_contrast")
        if mean is None:
            continue
        corrected = found.get("correlation_disattenuated_mean") or found.get("correlation_disattenuated_contrast")
        extremes = _extremes(data, instrument, rater)
        name = common.instrument_name(instrument) if instrument not in ("", "(all)") else "Mean of instruments"
        rows.append(
            (
                Cell(minus(approach) if " - " in approach else name),
                Cell(rater if rater != "all" else "all together"),
                Cell("" if " - " in approach else approach),
                number_cell(common.estimate_text(mean, data.decimals), mean.estimate),
                number_cell(common.interval_text(mean, data.decimals), mean.ci_low),
                number_cell(extremes[0], extremes[1]),
                number_cell(
                    common.estimate_text(corrected, data.decimals) if corrected is not None else numbers.UNKNOWN,
                    getattr(corrected, "estimate", None),
                ),
                common.count_cell(mean.n_sites),
                common.count_cell(mean.n_clients),
                Cell("; ".join(one for one in (common.remark(mean), common.width_remark(mean)) if one)),
            )
        )
    if not rows:
        return []
    return [
        Table(
            "within-instruments",
            "How strongly the scales of one instrument correlate, pooled over sites",
            (
                *(
                    Column("Instrument"),
                    Column("Rater"),
                    Column("Approach", optional=True),
                    Column("Mean r", True),
                    Column(f"{data.level} CI", True),
                ),
                *(Column("Lowest to highest", optional=True), Column("Corrected for unreliability", True, optional=True)),
                *(Column("Sites", True), Column("Clients", True), Column("Remark", wide=True, optional=True)),
            ),
            tuple(rows),
            note="Homogeneous: scales from one theory; blended: from several. High correlations say that the scales tell much the same.",
            folded=True,
        )
    ]


def _extremes(data: ReportData, instrument: str, rater: str) -> tuple[str, float | None]:
    rows = common.pooled_rows(
        common.table_of(data, QUESTION, "overlap_summary"),
        pairs_kind="within_instrument",
        instrument=instrument,
        rater=rater,
        basis="pairs",
    )
    found = {row.estimate_type: row.estimate for row in common.tuples(rows) if common.has_number(row)}
    low, high = found.get("correlation_minimum"), found.get("correlation_maximum")
    if low is None or high is None:
        return numbers.UNKNOWN, None
    return f"{numbers.bounded(low, data.decimals)} to {numbers.bounded(high, data.decimals)}", low


def maps(data: ReportData) -> list[Figure]:
    """Return a map of overlap for total scales and one for subscales."""
    return [figure for level in LEVELS for figure in _map(data, level)]


def _map(data: ReportData, level: str) -> list[Figure]:
    pooled = with_number(common.pooled_rows(pairs_of(data), level=level))
    pooled = pooled[pooled["shared_items"].ne("yes") & pooled["derived"].ne("yes")]
    shared = list(common.tuples(common.select(pooled, estimate_type="r_squared")))
    corrected = list(common.tuples(common.select(pooled, estimate_type="correlation_disattenuated")))
    seen: dict[tuple[str, str, str], int] = {}
    for row in shared:
        for one in _measures(row):
            seen[one] = max(seen.get(one, 0), int(row.n_sites))
    if len(seen) < 3:
        return []
    kept = sorted(seen, key=lambda one: (-seen[one], one))[:MOST_MEASURES]
    order = {"client": 0, "therapist": 1, "observer": 2}
    kept.sort(key=lambda one: (order.get(one[2], 3), one[2], one[0], one[1] != "total", one[1]))
    place = {one: position for position, one in enumerate(kept)}
    below, above = ([[math.nan] * len(kept) for _ in kept] for _ in range(2))
    drawn = [row for row in shared if set(_measures(row)) <= set(place)]
    for rows, matrix, square in ((drawn, below, 1), (corrected, above, 2)):
        for row in rows:
            first, second = (place.get(one) for one in _measures(row))
            if first is not None and second is not None:
                matrix[first][second] = matrix[second][first] = row.estimate**square
    labels = [common.measure(*one) for one in kept]
    high, low = max(drawn, key=lambda row: row.estimate), min(drawn, key=lambda row: row.estimate)
    beyond = sum(row.estimate**2 > 1 for row in corrected if set(_measures(row)) <= set(place))
    also = (
        f" {common.plural(beyond, 'corrected value')} above 100% (the reliabilities are then too low or the error is shared)."
        if beyond
        else ""
    )
    left_out = (
        f" Of {numbers.count(len(seen))} scales the {numbers.count(len(kept))} that most sites sent are drawn."
        if len(kept) < len(seen)
        else ""
    )
    cells = tuple(
        (
            Cell(pair_label(row)),
            *common.estimate_cells(data, row)[:2],
            number_cell(numbers.percent(value := above[place[_measures(row)[0]]][place[_measures(row)[1]]]), value),
            common.count_cell(row.n_sites),
        )
        for row in drawn
    )
    return [
        Figure(
            id=f"overlap-map-{level}",
            title=f"Map of overlap: variance that {LEVELS[level]} share, pooled over sites",
            alt=(
                f"Map of the variance shared by {numbers.count(len(kept))} {LEVELS[level]}. The most is {numbers.percent(high.estimate)} "
                f"between {pair_label(high)}; the least is {numbers.percent(low.estimate)} between {pair_label(low)}.{also}"
            ),
            svg=figures_measurement.overlap_map(labels, below, above),
            narrow=figures_measurement.overlap_map(labels, below, above, narrow=True),
            note="Percent of variance. Below the diagonal as measured, above it corrected for the unreliability of both scores (an "
            "estimate of what error-free scores would share). A dash marks pairs that no site sent for the same sessions, or that differ "
            f"in more than one thing.{also}{left_out}",
            data=Table(
                id=f"overlap-map-{level}-data",
                caption=f"Variance that {LEVELS[level]} share",
                columns=(
                    Column("Measures"),
                    Column("r²", True),
                    Column(f"{data.level} CI", True),
                    Column("Corrected", True),
                    Column("Sites", True),
                ),
                rows=cells,
            ),
        )
    ]


def _measures(row: Any) -> list[tuple[str, str, str]]:
    return [(row.instrument1, row.scale1, row.rater1), (row.instrument2, row.scale2, row.rater2)]


def pair_table(data: ReportData, level: str, comparison: str, caption: str) -> Table:
    """Return the pooled correlations of the pairs of one level and comparison, with the variance they share."""
    chosen = common.pooled_rows(pairs_of(data), level=level, comparison=comparison)
    found = {
        kind: {_pair(row): row for row in common.tuples(common.select(chosen, estimate_type=kind))}
        for kind in ("r_squared", "correlation_disattenuated", "htmt")
    }
    ordered = sorted(common.tuples(with_number(common.select(chosen, estimate_type="correlation"))), key=lambda row: -int(row.n_sites))
    rows = []
    for row in ordered[:MOST_ROWS]:
        cells = common.estimate_cells(data, row)
        label = pair_label(row) + (" (share items)" if row.shared_items == "yes" else " (derived)" if row.derived == "yes" else "")
        parallel = row.parallel if comparison == "instruments" and level == "subscale" else ""
        rows.append(
            (
                Cell(label),
                Cell(parallel),
                *cells[:2],
                _share_cell(found["r_squared"].get(_pair(row))),
                *(_coefficient_cell(data, found[kind].get(_pair(row))) for kind in ("correlation_disattenuated", "htmt")),
                *cells[2:],
            )
        )
    columns = common.estimate_columns(data, "r")
    more = (
        f" The {numbers.count(MOST_ROWS)} pairs that most sites sent; all {numbers.count(len(ordered))}: "
        "tables/convergent_validity/pairs.csv." * (len(ordered) > MOST_ROWS)
    )
    return Table(
        id=f"pairs-{level}-{comparison}",
        caption=f"{caption}, pooled over sites",
        columns=(
            Column("Measures", wide=True),
            Column("Meant to measure the same", optional=True),
            *columns[:2],
            Column("Shared variance", True),
            Column("r corrected for unreliability", True, optional=True),
            Column("HTMT", True, optional=True),
            *columns[2:],
        ),
        rows=tuple(rows),
        note=" ".join(
            one
            for one, there in (
                ("Corrected values can exceed 1 and are then flagged.", any(found["correlation_disattenuated"])),
                ("HTMT near 1: the items of both scales hang together as those of one.", any(found["htmt"])),
                ("Where a pair has no corrected value, a reliability of one of its scores is not known.", bool(rows)),
                (more.strip(), bool(more)),
            )
            if there
        ),
        empty="No such pair could be pooled over sites.",
        folded=(level, comparison) != ("total", "instruments") or len(rows) > FOLDED_ROWS,
    )


def _pair(row: Any) -> tuple[str, ...]:
    return tuple(getattr(row, name) for name in PAIR)


def _coefficient_cell(data: ReportData, row: Any) -> Cell:
    if row is None or not common.has_number(row):
        return Cell(numbers.UNKNOWN, "")
    return number_cell(common.estimate_text(row, data.decimals), row.estimate)


def content(data: ReportData) -> Blocks:
    """Return which instrument of the study is meant to measure which construct (the content matrix)."""
    used = {key for status in data.included for key in status.get("instruments", {})}
    matrix = content_matrix({key: one for key, one in data.instruments.items() if key in used})
    if matrix.empty:
        return []
    instruments = list(dict.fromkeys(matrix["instrument"]))
    rows, emphasised = [], set()
    for (construct,), group in common.rows_by(matrix, ("construct",)):
        first = next(common.tuples(group))
        if first.core:
            emphasised.add(len(rows))
        by_instrument = {key: own for (key,), own in common.rows_by(group, ("instrument",))}
        label = common.words((first.label or construct).replace("'", "’")) + (" (core)" if first.core else "")
        rows.append((Cell(label), *(Cell(_scales(by_instrument.get(key))) for key in instruments)))
    both = [common.instrument_name(key) for key in instruments if _has_cores(matrix, key)]
    told = (
        f"The content of {common.plural(len(instruments), 'instrument')} that the sites used is known. Both cores that the review names, "
        f"personal attachment and collaboration, are covered by {listed(both) if both else 'none of them'}."
    )
    return [
        Part("measurement-content", "Who measures what?", (told,)),
        Table(
            "content-matrix",
            "What the instruments are meant to measure",
            (Column("Construct", wide=True), *(Column(common.instrument_name(key)) for key in instruments)),
            tuple(rows),
            note="Scales that are meant to measure a construct; “as a whole” where the instrument monitors it without a scale of its own; "
            "a question mark where that is not certain. From the instrument files, which a study may change; sources stand there. A name "
            "is no proof: the maps above show what scales share.",
            emphasised=frozenset(emphasised),
        ),
    ]


def _scales(rows: pd.DataFrame | None) -> str:
    if rows is None:
        return numbers.UNKNOWN
    return ", ".join((row.scale.replace("_", " ") or "as a whole") + ("?" if row.certainty == "low" else "") for row in common.tuples(rows))


def _has_cores(matrix: pd.DataFrame, instrument: str) -> bool:
    own = matrix[matrix["instrument"].eq(instrument)]
    return own.loc[own["core"].astype(bool), "construct"].nunique() == matrix.loc[matrix["core"].astype(bool), "construct"].nunique() > 1


def compared_name(row: Any) -> str:
    """Return which two measures are compared."""
    names = [common.instrument_name(key) for key in (row.instrument1, row.instrument2)]
    raters = row.comparison == "raters"
    if raters and row.instrument1 == PREFERRED:
        return f"{row.rater1} minus {row.rater2} (each site’s first alliance instrument)"
    return f"{names[0]}, {row.rater1} minus {row.rater2}" if raters else f"{names[0]} minus {names[1]}, {row.rater1}"


def contrast_name(row: Any) -> str:
    """Return which two measures are compared as predictors of which outcome."""
    return f"{compared_name(row)}; outcome {common.measure(row.outcome_instrument, row.outcome_scale)}, {row.outcome_rater}"


def prediction_rows(data: ReportData) -> pd.DataFrame:
    """Return the pooled differences of two measures' correlations with the outcome: the study's outcome, window and rater first."""
    pooled = common.pooled_rows(common.table_of(data, QUESTION, "predictive_contrast"), estimate_type="correlation_contrast")
    outcome = data.options["outcome"]
    order = {name: place for place, name in enumerate(outcome["instruments"])}
    keys = pd.DataFrame(
        {
            "silent": ~pooled["status"].isin(common.WITH_NUMBERS),
            "window": pooled["window"].ne(data.options["alliance"]["window"]),
            "instrument": pooled["outcome_instrument"].map(order).fillna(len(order)),
            "rater": pooled["outcome_rater"].ne(outcome["rater"]),
            "form": pooled["form"].map({name: place for place, name in enumerate(FORMS)}),
        }
    )
    return pooled.loc[keys.sort_values(list(keys), kind="stable").index]


def prediction_sentences(data: ReportData) -> list[str]:
    """Return what the tests of difference and of equivalence say about the first outcome and form, for instruments and for raters."""
    rows = with_number(prediction_rows(data))
    sentences = []
    for comparison, what in (("instruments", "Two instruments"), ("raters", "Two raters of one instrument")):
        own = common.select(rows, comparison=comparison)
        if own.empty:
            continue
        first = next(common.tuples(own))
        same = ("window", "outcome_instrument", "outcome_scale", "outcome_rater", "timepoint", "form")
        own = common.select(own, **{name: getattr(first, name) for name in same})
        by_decision: dict[str, list[str]] = {}
        for row in common.tuples(own):
            shown = f"{compared_name(row)} {common.estimate_text(row, data.decimals)} {common.interval_text(row, data.decimals)}"
            by_decision.setdefault(DECISIONS.get(row.decision, "not tested"), []).append(shown)
        outcome = f"{common.measure(first.outcome_instrument, first.outcome_scale)}, {first.outcome_rater}, {FORMS[first.form]}"
        told = "; ".join(f"{decision}: {', '.join(found)}" for decision, found in by_decision.items())
        sentences.append(f"{what}, difference of their correlations with the outcome ({outcome}; {data.level} CI). {common.words(told)}.")
    return sentences


def prediction(data: ReportData) -> Blocks:
    """Return whether the measures predict the outcome equally, with the test of equivalence."""
    rows = prediction_rows(data)
    if rows.empty:
        return []
    keys = (
        "comparison",
        "instrument1",
        "rater1",
        "instrument2",
        "rater2",
        "window",
        "outcome_instrument",
        "outcome_scale",
        "outcome_rater",
        "timepoint",
        "form",
    )
    pooled = common.pooled_rows(common.table_of(data, QUESTION, "predictive_contrast"))
    alone: Mapping[Any, Any] = {
        (tuple(getattr(row, key) for key in keys), row.contrast): row
        for row in common.tuples(pooled)
        if row.estimate_type != "correlation_contrast"
    }
    cells = []
    for row in common.tuples(with_number(rows).head(MOST_ROWS)):
        identity = tuple(getattr(row, key) for key in keys)
        estimate = common.estimate_cells(data, row)
        cells.append(
            (
                Cell(contrast_name(row)),
                Cell(row.window.replace("_", " ")),
                Cell(FORMS.get(row.form, row.form)),
                *(_coefficient_cell(data, alone.get((identity, name))) for name in ("first", "second")),
                *estimate[:2],
                Cell(row.decision if row.decision == "undecided" else DECISIONS.get(row.decision, "")),
                *estimate[2:],
            )
        )
    columns = common.estimate_columns(data, "Difference")
    bound = numbers.bounded(data.options["questions"][QUESTION]["equivalence_bound"], data.decimals)
    more = " All others: tables/convergent_validity/predictive_contrast.csv." * (len(rows) > MOST_ROWS)
    return [
        Part("measurement-prediction", "Do the measures predict the outcome equally?", tuple(prediction_sentences(data))),
        Table(
            "predictive-contrasts",
            "Two measures as predictors of the same outcome, on the clients who have both, pooled over sites",
            (
                *(Column("First minus second", wide=True), Column("Window"), Column("Outcome", wide=False)),
                *(
                    Column("r, first", True),
                    Column("r, second", True),
                    *columns[:2],
                    Column("What the test says", optional=True),
                    *columns[2:],
                ),
            ),
            tuple(cells),
            note=f"A difference counts as too small to matter where it is shown to lie within ±{bound} (two one-sided tests); that a test "
            f"found no difference is no proof that there is none. Undecided: neither is shown.{more}",
            folded=len(cells) > FOLDED_ROWS,
        ),
    ]


def benchmark_name(table: str, row: Any) -> str:
    """Return what a published figure is about; empty for rows that the chapter does not show."""
    if table == "pairs":
        return f"Shared variance of {pair_label(row)}"
    if table != "overlap_summary":
        return ""
    name = row.estimate_type.removeprefix("r_squared_")
    if row.pairs_kind == "within_instrument":
        subject = minus(row.approach) if row.approach else common.instrument_name(row.instrument)
        return f"Correlations of the scales of one instrument, {subject}, {row.estimate_type.partition('_')[2]}, rater: {row.rater}"
    if name == "contrast":
        return f"Difference of mean shared variance, {minus(row.rater if ' - ' in row.rater else row.pairs_kind)}"
    if row.pairs_kind != "all" or row.basis != ("sites" if name == "mean" else "pairs"):
        return ""
    return f"Shared variance of {LEVELS.get(row.level, row.level)}, {SMALLEST_LARGEST[name]}, rater: {row.rater}"


def named_rows(data: ReportData) -> list[tuple[Any, str]]:
    """Return the pooled rows that these parts show, with their names."""
    correlations = common.pooled_rows(pairs_of(data), estimate_type="correlation")
    named = [(row, pair_label(row)) for row in common.tuples(correlations)]
    for level, scales in LEVELS.items():
        for kind, words in KINDS.items():
            row = overlap_rows(data, level, "all", kind).get("mean")
            if row is not None:
                named.append((row, f"Mean shared variance of {scales}" + ("" if kind == "all" else f" {words}")))
    return named + [(row, contrast_name(row)) for row in common.tuples(prediction_rows(data))]
