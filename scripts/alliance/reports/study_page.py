"""The study page: summary, sites, measures, one chapter a question, exclusions, reproducibility, references."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from alliance.issues import Severity, why_left_out
from alliance.questions.sentences import Sentence, told_once
from alliance.reports import citation, figures, methods_text, numbers, participants, registration, reviewer, summary
from alliance.reports.bibliography import listing
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Chapter, Column, Figure, Table, listed, number_cell, text_cell
from alliance.reports.inputs import EXCLUDED, ReportData
from alliance.reports.page import Section

STATUS_WORDS = {"ok": "in order", "warnings": "with warnings", EXCLUDED: "left out"}
NOT_TESTABLE = "What the review says and no data here can test"
COUNTED = ("clients", "therapists", "sessions", "ratings")


def content(data: ReportData, built: Sequence[Chapter]) -> dict[str, Any]:
    """Return what the template of the study page draws, from the study and its chapters (:func:`alliance.reports.chapters.order.build`)."""
    told = {question: methods_text.of_question(data, question) for question in data.tables if data.tables[question]}
    around = methods_text.general(data)
    parts = [
        replace(
            chapter,
            methods=methods_text.printed(data, _sentences(told, chapter)),
            standing=registration.standing(data.preregistration, chapter.sources),
            withheld=summary.withheld(data, chapter.sources),
        )
        for chapter in built
    ]
    flagged = [(one.fault.fault, one.found.sentence) for one in reviewer.check_all(data) if one.flagged]
    return {
        "cards": cards(data),
        "headlines": [headline for chapter in parts for headline in chapter.headlines],
        "priorities": summary.priorities(data, parts),
        "how_sure": summary.how_sure(data, flagged),
        "flagged": flagged,
        "coverage": [*coverage(data, parts), *summary.left_out(data)],
        "not_testable": data.guide.not_testable,
        "missing_data": summary.missing_data(data),
        "diagnostics": summary.diagnostics(data),
        "statements": statements(data),
        "workbook": data.workbook,
        "csv_folder": data.csv_folder,
        "citation": (citation.apa(data), citation.bibtex(data)),
        "checklist": bool(data.guide.items or data.guide.faults),
        "sites": sites_table(data),
        "flow": flow_figure(data),
        "participants": participants.sentences(data),
        "described": participants.tables(data),
        "measures": measures_table(data),
        "chapters": parts,
        "conduct": methods_text.printed(data, around),
        "registration": registration.registration_chapter(data.preregistration, data.deviations, [data.scenario]),
        "exclusions": exclusion_sentences(data),
        "faults": fault_table(data),
        "reproducibility": reproducibility(data),
        "packages": package_table(data),
        "inputs": input_table(data),
        "references": references(data, [*around, *(sentence for sentences in told.values() for sentence in sentences)]),
    }


STATEMENTS = {
    "eligibility": "Who could take part",
    "participants": "Who took part",
    "recruitment": "Recruitment",
    "sample_size": "Sample size",
    "rater_training": "Training of raters",
    "masking": "What raters knew",
    "ethics": "Ethics",
    "interpretation": "What the results mean",
    "funding": "Funding",
    "interests": "Conflicts of interest",
    "availability": "Where data, code and materials can be had",
}


def statements(data: ReportData) -> list[tuple[str, str]]:
    """Return what the authors state in the configuration, as names and texts."""
    said = data.options["report"].get("statements") or {}
    return [(label, str(said[key])) for key, label in STATEMENTS.items() if said.get(key)]


def _sentences(told: Mapping[str, Sequence[Sentence]], chapter: Chapter) -> list[Sentence]:
    """Return the methods of all questions that a chapter draws on, each procedure once."""
    return told_once(sentence for question in chapter.sources for sentence in told.get(question, ()))


def sections(content: dict[str, Any]) -> list[Section]:
    """Return the table of contents of the study page."""
    return [
        Section("summary", "Summary"),
        Section("sites", "Sites and clients"),
        Section("measures", "Measures"),
        *(Section(chapter.id, chapter.title) for chapter in content["chapters"]),
        Section("conduct", "How the study was run"),
        Section(registration.SECTION, registration.TITLE),
        Section("exclusions", "Errors and exclusions"),
        *([Section("not-testable", NOT_TESTABLE)] if content["not_testable"] else []),
        *([Section("statements", "Statements of the authors")] if content["statements"] else []),
        Section("downloads", "Downloads and citation"),
        Section("reproducibility", "Reproducibility"),
        Section("references", "References"),
    ]


def total(data: ReportData, counted: str) -> int:
    """Return a count over all sites in the results; sites that do not know it add nothing."""
    known = data.totals.get("counts", {})
    return known[counted] if counted in known else sum(int(status.get("counts", {}).get(counted) or 0) for status in data.included)


def cards(data: ReportData) -> list[dict[str, str]]:
    """Return the few counts at the top of the summary."""
    shown = [{"number": numbers.count(data.n_included), "label": "site" if data.n_included == 1 else "sites"}]
    for counted in ("clients", "therapists", "sessions"):
        if amount := total(data, counted):
            shown.append({"number": numbers.count(amount), "label": counted[:-1] if amount == 1 else counted})
    return shown


def coverage(data: ReportData, parts: Sequence[Chapter]) -> list[str]:
    """Return what is not in the results, in sentences."""
    sentences = []
    if data.excluded:
        sentences.append(
            f"{numbers.count(len(data.excluded))} of {common.plural(data.n_sites, 'site')} "
            f"{'was' if len(data.excluded) == 1 else 'were'} left out: {listed([data.labels[status['site']] for status in data.excluded])}."
        )
    else:
        sentences.append("No site was left out.")
    received, used, quarantined, by_rule = (_rows(data.statuses, name) for name in ROW_ACCOUNT)
    if received and quarantined is not None and by_rule is not None:
        sentences.append(
            f"Of {common.plural(received, 'row')} received, {numbers.count(quarantined)} could not be used and "
            f"{numbers.count(by_rule)} were left out by a declared rule."
        )
    elif used:
        sentences.append(
            f"{common.plural(used, 'row')} were used; how many could not be, or were left out by a declared rule, is withheld."
        )
    open_questions = sum(len(part.missing) for part in parts)
    if open_questions:
        titles = [f"“{part.title}”" for part in parts if part.missing]
        chapters, named = ("chapter", f"{titles[0]} names") if len(titles) == 1 else ("chapters", f"{listed(titles)} name")
        sentences.append(f"Some estimates could not be computed; the {chapters} {named} what they need.")
    fewest = data.options["pooling"]["headline_sites"]
    if data.n_included < fewest:
        sentences.append(
            f"With fewer than {common.plural(fewest, 'site')}, pooled results are shown without p values and should be read with care."
        )
    return sentences


def _rows(statuses: Sequence[Mapping[str, Any]], name: str) -> int | None:
    """Return a count of rows over all files of some sites; None where it is withheld of one."""
    amounts = [file[name] for status in statuses for file in status["files"]]
    return None if None in amounts else sum(amounts)


def sites_table(data: ReportData) -> Table:
    """Return one row a site: where it is, what it sent, how it stands."""
    rows = []
    for status in data.statuses:
        facts, counts = status.get("site_facts", {}), status.get("counts", {})
        sent = listed([common.instrument_name(key) for key in sorted(status.get("instruments", {}))])
        rows.append(
            (
                Cell(data.labels[status["site"]], link=f"sites/{status['site']}.html"),
                Cell(STATUS_WORDS.get(status["status"], status["status"])),
                Cell({"rows": "rows", "summary": "summary only"}.get(status.get("data", ""), str(status.get("data", "")))),
                *(text_cell(facts.get(name)) for name in ("country", "setting", "design")),
                *(common.count_cell(counts.get(name)) for name in COUNTED),
                text_cell(sent),
            )
        )
    return Table(
        id="sites-table",
        caption="Sites and what they sent",
        columns=(
            Column("Site"),
            Column("Status"),
            Column("Sends"),
            *(Column(name, optional=True) for name in ("Country", "Setting", "Design")),
            *(Column(name.capitalize(), True) for name in COUNTED),
            Column("Instruments", wide=True),
        ),
        rows=tuple(rows),
        empty="There is no site.",
    )


IN_PATH_MODEL = "in_path_model"
LEFT = {
    "sent": "Clients sent",
    "cleaned": "with usable rows",
    "with_ratings": "with any rating",
    "with_session_ratings": "with ratings of sessions",
    IN_PATH_MODEL: "in the path model",
}
REMOVED = {"withdrawn": "Consent withdrawn", "test_records": "Test records", "without_usable_rows": "Without usable rows"}


def flows(data: ReportData) -> dict[str, dict[str, int]]:
    """Return the number of clients at each step for every site that tells it, up to the first path model."""
    found = {status["site"]: dict(status["flow"]) for status in data.statuses if status.get("flow")}
    parameters = data.tables.get("path_models", {}).get("parameters")
    if parameters is not None and len(parameters):
        first = common.site_rows(parameters, model=parameters["model"].iloc[0])
        for site, amount in first.groupby("site")["n_clients"].max().dropna().items():
            if site in found:
                found[site][IN_PATH_MODEL] = int(amount)
    return found


def flow_figure(data: ReportData, only: str = "") -> Figure | None:
    """Return the flow of clients per site; None where no site has one.

    Parameters
    ----------
    data : ReportData
    only : str
        Site to which the figure is limited; empty for all sites.
    """
    found = {site: flow for site, flow in flows(data).items() if only in ("", site)}
    steps = [step for step in LEFT if any(step in flow for flow in found.values())]
    if not steps:
        return None
    removed = [step for step in REMOVED if any(step in flow for flow in found.values())]
    sums = {step: sum(flow.get(step, 0) for flow in found.values()) for step in (*steps, *removed)}
    totals = sums if only else {**sums, **data.totals.get("flow", {})}
    labels = [data.labels[site] for site in found]
    names = [LEFT[step] for step in steps]
    counts = [[float(flow.get(step, math.nan)) for step in steps] for flow in found.values()]
    told = "; ".join(f"{LEFT[step][0].lower()}{LEFT[step][1:]}: {numbers.count(totals[step])}" for step in steps)
    shown = [(label, flow) for label, flow in zip(labels, found.values())] + ([] if only else [("All sites", totals)])
    rows = tuple((Cell(label), *(common.count_cell(flow.get(step)) for step in (*steps, *removed))) for label, flow in shown)
    columns = (Column("Site"), *(Column({**LEFT, **REMOVED}[step], True) for step in (*steps, *removed)))
    return Figure(
        id="flow",
        title="Flow of clients" + ("" if only else " per site"),
        alt=f"Bars of the number of clients at each step{'' if only else ' for every site'}. {'Here' if only else 'All sites'}: {told}.",
        svg=figures.flow(labels, names, counts),
        narrow=figures.flow(labels, names, counts, narrow=True),
        note="Each darker bar holds the clients that are left at the next step. The printed number is the first step’s.",
        data=Table("flow-data", "Clients at each step", columns, rows, emphasised=frozenset() if only else frozenset({len(rows) - 1})),
    )


def measures_table(data: ReportData, only: str = "") -> Table:
    """Return reliability of every scale in this sample, over sites (or at one site)."""
    moments = data.scale_moments
    included = {status["site"] for status in data.included}
    if len(moments):
        moments = moments[moments["site"].isin({only} if only else included)]
    rows = []
    if len(moments):
        keys = ["instrument", "scale", "rater", "timepoint"]
        for (instrument, scale, rater, timepoint), group in moments.groupby(keys, sort=True, dropna=False):
            alphas = group.loc[group["n_clients"] >= data.options["pooling"]["min_clients"], "alpha"].dropna()
            known = data.instruments.get(instrument)
            rows.append(
                (
                    Cell(common.measure(instrument, scale)),
                    text_cell(common.construct_words(getattr(known, "construct", ""))),
                    Cell(str(rater)),
                    Cell(str(timepoint).replace("_", "-")),
                    common.count_cell(group["site"].nunique()),
                    common.count_cell(group["n_clients"].sum()),
                    number_cell(
                        numbers.bounded(alphas.median() if len(alphas) else math.nan, data.decimals),
                        alphas.median() if len(alphas) else None,
                    ),
                    number_cell(_span(alphas, data.decimals), alphas.min() if len(alphas) else None),
                )
            )
    shown = [(*row[:4], *row[5:7]) if only else row for row in rows]
    columns = (
        Column("Measure"),
        Column("Construct"),
        Column("Rater"),
        Column("Time"),
        *(() if only else (Column("Sites", True),)),
        Column("Clients", True),
        Column("α" if only else "α, median site", True),
        *(() if only else (Column("α, lowest to highest site", True),)),
    )
    return Table(
        id="measures-table",
        caption="Internal consistency (Cronbach’s α) of every scale in this sample",
        columns=columns,
        rows=tuple(shown),
        note=(
            "Computed within each site from its own items, where the site sent items and at least "
            f"{common.plural(data.options['pooling']['min_clients'], 'client')}. A dash means that only scale scores were sent."
            + (MEASURES_WITHHELD if data.withholds else "")
        ),
        empty="No scale could be scored.",
    )


MEASURES_WITHHELD = (
    " Only what rests on enough clients and therapists of a site is shown: sites, clients and values are those of the sites that can be "
    "shown, and a measure that no site can show is missing."
)


def _span(values: pd.Series, decimals: int) -> str:
    if not len(values):
        return numbers.UNKNOWN
    return f"{numbers.bounded(values.min(), decimals)} to {numbers.bounded(values.max(), decimals)}"


def exclusion_sentences(data: ReportData) -> list[str]:
    """Return which sites were left out and why, one sentence a site."""
    return [f"{data.labels[status['site']]} was left out: {why_left_out(status.get('reasons', ()))}" for status in data.excluded]


def fault_table(data: ReportData) -> Table:
    """Return the number of faults per site and reach."""
    rows = []
    for status in data.statuses:
        own = [issue for issue in data.issues if issue.site == status["site"]]
        rows.append(
            (
                Cell(data.labels[status["site"]], link=f"sites/{status['site']}.html#issues"),
                *(
                    common.count_cell(
                        sum(issue.n_affected for issue in own if issue.severity == severity) or (pd.NA if data.withholds else 0)
                    )
                    for severity in (Severity.SITE, Severity.ROW, Severity.CELL, Severity.WARN)
                ),
                *(common.count_cell(_rows([status], name)) for name in ROW_ACCOUNT),
            )
        )
    return Table(
        id="faults",
        caption="Faults and rows per site",
        columns=(
            Column("Site"),
            Column("Site faults", True),
            Column("Row faults", True),
            Column("Cell faults", True),
            Column("Warnings", True),
            *(Column(label, True) for label in ROW_ACCOUNT.values()),
        ),
        rows=tuple(rows),
        note="Every row received is used, set aside as unusable, or left out by a declared rule; nothing is lost."
        + (f" {common.ROWS_WITHHELD}" if data.withholds else ""),
        empty="There is no site.",
    )


ROW_ACCOUNT = {
    "rows_in": "Rows received",
    "rows_used": "Used",
    "rows_quarantined": "Unusable",
    "rows_excluded_by_rule": "Left out by rule",
}


def reproducibility(data: ReportData) -> list[tuple[str, str]]:
    """Return what the results rest on, as names and values."""
    given = data.provenance
    facts = [
        ("Program", f"alliance-pipeline {given['version']}"),
        ("Scenario", f"{data.scenario}" + (f" ({given['reason']})" if given.get("reason") else "")),
        ("Data", str(given["data_digest"])),
        ("Configuration", str(given["config_digest"])),
        ("Code", str(given["code_digest"])),
        ("Instruments", str(given["instruments_digest"])),
        ("Packages", str(given["lock_digest"])),
        ("Seed", str(given["seed"])),
        ("Authors", listed([author["name"] for author in data.options["study"].get("authors", [])]) or numbers.UNKNOWN),
    ]
    return facts


def package_table(data: ReportData) -> Table:
    """Return the versions of the packages."""
    rows = tuple((Cell(name), Cell(str(version), str(version))) for name, version in sorted(data.provenance["packages"].items()))
    return Table("packages", "Versions of the main packages", (Column("Package"), Column("Version")), rows)


def input_table(data: ReportData) -> Table:
    """Return the files that were read and their hashes."""
    rows = tuple(
        (Cell(data.labels.get(entry["site"], entry["site"])), Cell(entry["file"]), Cell(entry["sha256"]))
        for entry in data.provenance["inputs"]
    )
    empty = "Names and hashes of single files are not published." if data.withholds else "No file was read."
    return Table("input-files", "Files received", (Column("Site"), Column("File"), Column("SHA-256")), rows, empty=empty)


REVIEW, STANDARD, CEILING = "horvath_luborsky_1993", "appelbaum_2018", ("terwee_2007",)


def references(data: ReportData, sentences: Sequence[Sentence]) -> list[str]:
    """Return the reference list of everything cited on the page."""
    benchmarks = [figure.citation for figure in data.benchmarks if data.tables.get(figure.question)]
    around = (REVIEW, *((STANDARD, *CEILING) if data.guide.items else ()))
    return listing(dict(data.references), [*methods_text.cited_keys(sentences), *benchmarks, *around])
