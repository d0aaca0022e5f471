"""What a site answers to a question: estimated from its rows or its published figures, as it sent it, or why there is no answer."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from alliance.configuration.code import code_digest
from alliance.files import read_json
from alliance.instruments.registry import Instrument, instrument_folders, load_registry
from alliance.issues import why_left_out
from alliance.questions.site_data import SiteData, read
from alliance.questions.summary import SiteSummary
from alliance.sites.summaries import accepted_summary, instruments_digest

NOT_ANSWERED = "the site has not answered these options; `make request` writes what to send"


def site_answer(
    site: str,
    question: str,
    options_digest: str,
    site_tables: Path,
    instruments: Sequence[Path],
    estimate: Callable[[Callable[[Path], SiteData]], SiteSummary],
) -> SiteSummary:
    """Return a site's summary for one question.

    Parameters
    ----------
    site, question, options_digest : str
        Who answers what.
    site_tables : Path
        The site's folder of cleaned tables.
    instruments : sequence of Path
        Instrument files, shipped before own.
    estimate : callable
        Called where the site's rows or published figures are here, with a function that reads them together with a folder of scores.
    """
    status = read_json(site_tables / "status.json")
    label = status.get("label") or site
    if status["status"] == "excluded":
        return SiteSummary(site, question, label, status="excluded", reason=why_left_out(status.get("reasons", ())))
    sent = accepted_summary(site_tables, question, options_digest)
    if sent is not None:
        return replace(SiteSummary.read(sent), label=label)
    registry: dict[str, Instrument] = load_registry(instrument_folders(instruments))

    def data(scores: Path) -> SiteData:
        return read(site, site_tables, scores, registry)

    if status.get("data") == "summary" and not _published(site_tables):
        return SiteSummary(site, question, label, status="missing", reason=NOT_ANSWERED)
    return estimate(data)


def signed(summary: SiteSummary, options_digest: str, script: Path, module: str, instruments: Sequence[Path]) -> SiteSummary:
    """Return a summary with what it answers and what it was made with; one that a site sent says so itself.

    Parameters
    ----------
    summary : SiteSummary
    options_digest : str
    script : Path
        The script that made it.
    module : str
        The module that estimated it.
    instruments : sequence of Path
    """
    if summary.options_digest:
        return summary
    return replace(
        summary,
        options_digest=options_digest,
        code_digest=code_digest(script, Path(str(importlib.import_module(module).__file__))),
        instruments_digest=instruments_digest(instruments),
    )


def _published(site_tables: Path) -> bool:
    """Return whether a summary site sent a matrix or effects that were published elsewhere."""
    return any((site_tables / name).exists() for name in ("published_moments.csv", "published_effects.csv"))
