"""The summary of the study page: the review's priorities answered, how sure the numbers are, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alliance.questions.contract import POOLED, WITH_NUMBERS, WITHHELD
from alliance.questions.headlines import Headline, headline_numbers
from alliance.reports import numbers
from alliance.reports.chapters import common
from alliance.reports.chapters.alliance_outcome import not_in_headline
from alliance.reports.elements import Chapter, listed
from alliance.reports.guide import Answer
from alliance.reports.inputs import ReportData


@dataclass(frozen=True)
class Answered:
    """A priority of the review with its answers in sentences, and the section that tells more (empty: there is none)."""

    letter: str
    asks: str
    sentences: tuple[str, ...]
    chapter: str
    title: str


def priorities(data: ReportData, parts: Sequence[Chapter]) -> list[Answered]:
    """Return the review's priorities, each answered by the numbers of this run or by what it would need."""
    titles = {part.id: part.title for part in parts}
    asked = [answer for priority in data.guide.priorities for answer in priority.answers]
    rows = iter(rows_of(data, [answer.headline for answer in asked]))
    made = []
    for priority in data.guide.priorities:
        sentences = tuple(answer_sentence(data, answer, next(rows)) for answer in priority.answers)
        chapter = priority.chapter if priority.chapter in titles else ""
        made.append(Answered(priority.letter, priority.asks, sentences, chapter, titles.get(chapter, "")))
    return made


def rows_of(data: ReportData, headlines: Sequence[Headline]) -> list[Any]:
    """Return the rows of headline numbers as :mod:`common` prints them."""
    found = headline_numbers(headlines, data.tables, data.options).assign(site=POOLED)
    return list(common.tuples(found))


STAYS_OPEN = " stays open"


def answer_sentence(data: ReportData, answer: Answer, row: Any) -> str:
    """Return one answer: the sentence that the interval allows, with estimate, interval and numbers of sites and clients."""
    if row.status == WITHHELD:
        return f"{answer.says}: withheld." if answer.says else f"{answer.open.removesuffix(STAYS_OPEN)}: the answer is withheld."
    if not common.has_number(row):
        asked = answer.says or answer.open
        reason = numbers.typeset(row.reason.removeprefix(f"{common.NOT_ESTIMABLE}: ")) or "no reason was recorded"
        return f"{asked}: {common.NOT_ESTIMABLE}: {reason}."
    shown = numbers.percent(row.estimate) if answer.percent else common.estimate_text(row, data.decimals)
    estimate = shown + answer.unit.replace(" ", numbers.SPACE, 1)
    told = [f"{answer.symbol}{numbers.SPACE}={numbers.SPACE}{estimate}" if answer.symbol else estimate]
    interval = numbers.known(row.ci_low) and numbers.known(row.ci_high)
    ends = common.percent_interval(row) if answer.percent else common.interval_text(row, data.decimals)
    told.append(f"{data.level} CI {ends}" if interval else "no interval could be computed")
    told.append(common.plural(row.n_sites, "site"))
    told += [common.plural(row.n_clients, "client")] if numbers.known(row.n_clients) else []
    cautions = [text for text in ("flagged: read with care" if row.status == "flagged" else "", common.width_remark(row).lower()) if text]
    said = "; ".join([", ".join(told), *cautions])
    return f"{answer.says}: {said}." if answer.says else f"{getattr(answer, direction(row))} ({said})."


def direction(row: Any) -> str:
    """Return ``above``, ``below`` or ``open``: where the interval lies as seen from "no effect" (0; of a ratio 1)."""
    none = 1.0 if row.estimate_type in common.RATIO_TYPES else 0.0
    if numbers.known(row.ci_low) and numbers.known(row.ci_high):
        if row.ci_low > none:
            return "above"
        if row.ci_high < none:
            return "below"
    return "open"


def how_sure(data: ReportData, flagged: Sequence[tuple[str, str]]) -> list[str]:
    """Return how sure the results are, in sentences.

    Parameters
    ----------
    data : ReportData
    flagged : sequence of (str, str)
        Reviewers' faults that the check of this run flagged, each with its sentence.
    """
    rows = rows_of(data, data.guide.headlines)
    known = [row for row in rows if common.has_number(row)]
    hidden = sum(row.status == WITHHELD for row in rows)
    sentences = []
    if rows:
        many = common.plural(len(rows), "headline number")
        shown = f", of which {numbers.count(hidden)} {'is' if hidden == 1 else 'are'} withheld here" if hidden else ""
        directed = [row for row in known if numbers.known(row.ci_low) and row.estimate_type not in WITHOUT_DIRECTION]
        unsure = [row for row in directed if direction(row) == "open"]
        careful = [headline.label for headline, row in zip(data.guide.headlines, rows) if row.status == "flagged"]
        which = "those shown" if hidden else "these"
        sentences.append(
            f"Of {many} of the study, {numbers.count(len(known) + hidden)} could be computed{shown}. "
            f"{numbers.count(len(directed))} of {which} can lie on either side of “no effect”; the intervals of "
            f"{numbers.count(len(unsure))} hold it, so that their direction stays open."
        )
        if careful:
            sentences.append(f"To be read with care, as flagged: {'; '.join(careful)}.")
    pooled = [int(row.n_sites) for row in known if numbers.known(row.n_sites)]
    if pooled:
        spread = str(min(pooled)) if min(pooled) == max(pooled) else f"{min(pooled)} to {max(pooled)}"
        sentences.append(
            f"They rest on {spread} {'site' if spread == '1' else 'sites'}: how much sites differ, and so what a new site would find, is "
            f"{'poorly known' if max(pooled) < FEW_SITES else 'told by the prediction intervals'}."
        )
    sentences.append("All are associations in what was observed; none shows by itself that the alliance causes anything.")
    if data.preregistration is None:
        sentences.append("Nothing was registered before the data were looked at, so that all results are exploratory.")
    if data.guide.faults:
        many = f"{numbers.count(len(flagged))} of {numbers.count(len(data.guide.faults))} points at which reviewers find fault"
        sentences.append(f"A check by machine flags {many}{':' if flagged else '.'}")
    return sentences


WITHOUT_DIRECTION = common.RELIABILITY_TYPES | {"share", "variance_share", "r_squared_mean", "akaike_weight", "session_number"}
"""Types of headline numbers that lie on one side of zero by what they are; zero is no “no effect” of theirs."""
FEW_SITES = 10
"""Below as many sites the variance between them is poorly known (Cochrane’s rule of thumb for comparing studies)."""


def left_out(data: ReportData) -> list[str]:
    """Return what the results leave out beside sites and rows: clients, questions, estimates and claims."""
    sentences = []
    missing = _share_missing(data)
    if numbers.known(missing):
        way = data.options["questions"]["alliance_outcome"]["headline"]["missing"]
        sentences.append(f"{not_in_headline(missing, way).replace('these', 'the pooled').replace('headline', 'main result')}.")
    off = [common.words(name).lower() for name, chosen in data.options["questions"].items() if not chosen.get("enabled")]
    if off:
        sentences.append(f"Not asked in this run: {listed(off)}.")
    statuses = [common.pooled_rows(table)["status"] for tables in data.tables.values() for table in tables.values()]
    rows = sum(map(len, statuses))
    without, hidden = (sum(int((status == name).sum()) for status in statuses) for name in ("not_estimable", WITHHELD))
    told = [f"{numbers.count(without)} could not be estimated"] if without else []
    told += [f"{numbers.count(hidden)} {'is' if hidden == 1 else 'are'} withheld"] if hidden else []
    if told:
        sentences.append(f"Of {common.plural(rows, 'row')} over sites, {listed(told)}; each carries its reason.")
    return sentences


def withheld(data: ReportData, questions: Sequence[str]) -> str:
    """Return how many numbers over sites of some questions are withheld, in a sentence; empty where none is."""
    statuses = [common.pooled_rows(table)["status"] for question in questions for table in data.tables.get(question, {}).values()]
    hidden = sum(int(status.eq(WITHHELD).sum()) for status in statuses)
    rows = common.plural(sum(map(len, statuses)), "row")
    return f"Of {rows} over sites behind this chapter, {numbers.count(hidden)} {'is' if hidden == 1 else 'are'} withheld." if hidden else ""


def _share_missing(data: ReportData) -> float:
    pooled = data.tables.get("alliance_outcome", {}).get("pooled")
    if pooled is None:
        return float("nan")
    rows = common.pooled_rows(pooled, headline="yes")
    shares = pd.to_numeric(rows.loc[rows["status"].isin(WITH_NUMBERS), "share_missing"]).dropna()
    return float(shares.iloc[0]) if len(shares) else float("nan")


MISSING_ASSUMED = {
    "complete": "The main result is of clients with all values: it is right where values are missing by chance or by what is held "
    "constant.",
    "likelihood": "The main result also uses clients who lack some values (full information maximum likelihood): it is right where values "
    "are missing by what was measured.",
    "imputed": "The main result rests on multiple imputation: it is right where values are missing by what was measured.",
}
MODELS_ASSUMED = {
    "likelihood": "Path models also use clients who lack some of their variables (full information maximum likelihood): they are right "
    "where values are missing by what was measured.",
    "listwise": "Path models use clients with all of their variables: they are right where values are missing by chance.",
}


def missing_data(data: ReportData) -> list[str]:
    """Return how much is missing, what was assumed of it and what was done, in sentences that hold for this run."""
    sentences = []
    missing = _share_missing(data)
    asked = data.options["questions"]
    if numbers.known(missing):
        way = asked["alliance_outcome"]["headline"]["missing"]
        sentences.append(f"{not_in_headline(missing, way)}.")
        sentences.append(MISSING_ASSUMED[way])
        if len(data.tables["alliance_outcome"].get("missing", ())):
            sentences.append(
                "Whether other assumptions change it is told under Alliance and outcome, with the outcomes of clients without one shifted."
            )
    if data.tables.get("path_models"):
        sentences.append(MODELS_ASSUMED[asked["path_models"]["missing"]])
    sentences.append("Why values are missing is not recorded by the sites; no test can show that the assumptions hold.")
    return sentences


def diagnostics(data: ReportData) -> list[str]:
    """Return what became of the estimates over sites and how single sites bear on them, in sentences."""
    status = pd.concat(
        [common.pooled_rows(table)[["status", "reason"]] for tables in data.tables.values() for table in tables.values()]
        or [pd.DataFrame({"status": [], "reason": []})]
    )
    total = len(status)
    sentences = []
    if total:
        amounts = {name: int((status["status"] == name).sum()) for name in ("estimated", "flagged", "not_estimable", "withheld")}
        told = [f"{numbers.count(amounts[name])} {label}" for name, label in STATUS_LABELS.items() if amounts[name]]
        sentences.append(f"Of {numbers.count(total)} rows over sites in the tables, {listed(told)}.")
        unsolved = status["reason"].fillna("").str.contains("converge|admissible|boundary", regex=True)
        count = int(unsolved.sum())
        sentences.append(
            f"{numbers.count(count)} of them name a model that did not converge, or that has no admissible solution or one at the "
            "boundary; the reason stands beside each number."
            if count
            else "None of them names a model that did not converge or has no admissible solution."
        )
    if any(len(tables.get("leave_one_out", ())) for tables in data.tables.values()):
        sentences.append("Pooled results were computed again without each site in turn (tables leave_one_out).")
    return sentences


STATUS_LABELS = {
    "estimated": "were estimated",
    "flagged": "are flagged with a reason",
    "not_estimable": "could not be estimated, with a reason",
    "withheld": "are withheld",
}
