"""The methods as a text of their own, with citations and the works they name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from alliance.questions.sentences import Sentence, told_once
from alliance.reports import methods_text
from alliance.reports.bibliography import entry, sources
from alliance.reports.elements import Chapter
from alliance.reports.inputs import ReportData

ENDING = re.compile(r"[.?!]$")


def told_methods(data: ReportData, chapters: Sequence[Chapter]) -> list[tuple[str, list[Sentence]]]:
    """Return the methods of a scenario: a heading and its sentences, what concerns all questions first."""
    made = [("How the study was run", methods_text.general(data))]
    for chapter in chapters:
        told = [
            sentence for question in chapter.sources if data.tables.get(question) for sentence in methods_text.of_question(data, question)
        ]
        if told:
            made.append((chapter.title, told_once(told)))
    return made


def methods_markdown(
    title: str, simulated: bool, told: Sequence[tuple[str, Sequence[Sentence]]], scenarios: Mapping[str, str], data: ReportData
) -> str:
    """Return ``methods.md``: citations as Pandoc reads them (``[@key]``), the works with their keys at the end.

    Parameters
    ----------
    title : str
        Title of the study.
    simulated : bool
        Whether the data are.
    told : sequence
        From :func:`told_methods`.
    scenarios : mapping
        Why each further scenario was run, by its name.
    data : ReportData
        Of the scenario that is told.
    """
    lines = [f"# Methods: {title}", ""]
    if simulated:
        lines += ["**The data are simulated; no real client, therapist or clinic stands behind any number.**", ""]
    for heading, sentences in told:
        lines += [f"## {heading}", "", " ".join(_with_keys(sentence, data) for sentence in sentences), ""]
    if scenarios:
        lines += ["## Scenarios", "", "The following scenarios differ from the analysis above in what they name:", ""]
        lines += [f"- `{name}`: {reason}" for name, reason in scenarios.items()] + [""]
    lines += ["## References", ""]
    lines += [f"- `{key}`: {entry(data.references[key])}" for key in cited(told) if key in data.references]
    return "\n".join(lines).rstrip() + "\n"


def _with_keys(sentence: Sentence, data: ReportData) -> str:
    text = methods_text.printed(data, [Sentence(sentence.text)])[0]
    # Stars and underscores of names are no emphasis.
    text = re.sub(r"([\\*_`])", r"\\\1", text)
    keys = [key for key in dict.fromkeys(sentence.citations) if key in data.references]
    if not keys:
        return text
    citation = f"[{'; '.join(f'@{key}' for key in keys)}]"
    ending = ENDING.search(text)
    return f"{text[:-1]} {citation}{ending.group()}" if ending else f"{text} {citation}."


def cited(told: Sequence[tuple[str, Sequence[Sentence]]]) -> list[str]:
    """Return the keys that the methods cite, sorted."""
    return sorted({key for _, sentences in told for key in methods_text.cited_keys(sentences)})


def bibliography(text: str, keys: Sequence[str]) -> str:
    """Return the entries of a bibliography that are cited, as they are written there, sorted by key.

    Raises
    ------
    KeyError
        Where a key is cited that the bibliography does not have.
    """
    entries = sources(text)
    return "".join(f"{entries[key]}\n" for key in sorted(set(keys)))
