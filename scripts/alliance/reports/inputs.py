"""What the pages of a scenario are made from, read from the files that earlier steps wrote."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from alliance import issues as issue_records
from alliance.files import read_json
from alliance.issues import Issue, why_left_out
from alliance.questions import benchmarks as published
from alliance.questions import contract, pooled_sites
from alliance.questions import coverage as simulated
from alliance.questions.benchmarks import Benchmark
from alliance.questions.coverage import Coverage
from alliance.reports import bibliography
from alliance.reports import guide as report_guide
from alliance.reports.bibliography import Reference
from alliance.reports.guide import Guide
from alliance.reports.numbers import level
from alliance.reports.page import LeftOut, StudyHead

EXCLUDED = "excluded"
_RUN = frozenset("=+-@\t\r")


@dataclass(frozen=True)
class ReportData:
    """Everything a report is made from; aggregated, no row of a client.

    Parameters
    ----------
    scenario : str
        Name of the scenario.
    options : dict
        Its resolved configuration.
    provenance : dict
        Inputs, digests, packages, seed.
    constants : dict
        Constants by question.
    statuses : sequence of dict
        Every site's ``status.json``, in the order of the sites.
    issues : sequence of Issue
        All sites' faults.
    tables : mapping
        Result tables by question and name.
    scale_moments : DataFrame
        Statistics of the scales at all sites.
    instruments : mapping
        Registry by key.
    benchmarks : sequence of Benchmark
        Published figures.
    references : mapping
        Bibliography by key.
    coverage : sequence of Coverage
        How often intervals held the truth in simulations.
    preregistration : mapping or None
        What was registered; None where nothing was.
    deviations : DataFrame
        What was registered beside what this scenario has.
    guide : Guide
        What the report is held against; empty: no priorities, no checklist.
    workbook : str
        Address of the workbook with all tables, as seen from the study page; empty: there is none.
    scripts : str
        Address of the folder of scripts for R; empty: there is none.
    csv_folder : str
        Address of the folder of the tables as CSV, as seen from the study page.
    totals : mapping
        Counts over all sites (``counts``, and of the flow of clients ``flow``) where those of the sites are rounded; else empty.
    """

    scenario: str
    options: dict[str, Any]
    provenance: dict[str, Any]
    constants: dict[str, Any]
    statuses: Sequence[dict[str, Any]]
    issues: Sequence[Issue]
    tables: Mapping[str, Mapping[str, pd.DataFrame]]
    scale_moments: pd.DataFrame = field(default_factory=pd.DataFrame)
    instruments: Mapping[str, Any] = field(default_factory=dict)
    benchmarks: Sequence[Benchmark] = ()
    references: Mapping[str, Reference] = field(default_factory=dict)
    coverage: Sequence[Coverage] = ()
    preregistration: Mapping[str, Any] | None = None
    deviations: pd.DataFrame = field(default_factory=pd.DataFrame)
    guide: Guide = field(default_factory=Guide)
    workbook: str = ""
    scripts: str = "../lavaan"
    csv_folder: str = "../tables"
    totals: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @functools.cached_property
    def tables_once(self) -> dict[str, dict[str, pd.DataFrame]]:
        """The result tables, each row once (:func:`distinct`)."""
        return {question: {name: distinct(table) for name, table in tables.items()} for question, tables in self.tables.items()}

    @property
    def withholds(self) -> bool:
        """Whether disclosure control has withheld what rests on few clients."""
        return self.provenance.get("disclosure", {}).get("name", "internal") != "internal"

    @property
    def rounded(self) -> bool:
        """Whether disclosure control has rounded the numbers."""
        return self.provenance.get("disclosure", {}).get("round_counts_to", 1) > 1

    @property
    def decimals(self) -> int:
        """Decimals of correlations; where numbers are rounded, no more than they have."""
        asked = self.options["report"]["decimals"]
        return min(asked, contract.DECIMALS) if self.rounded else asked

    @property
    def percent_decimals(self) -> int:
        """Decimals of small shares in percent, where numbers are not rounded."""
        return 0 if self.rounded else 1

    @property
    def level(self) -> str:
        """Confidence level of the intervals, in percent."""
        return level(self.options["pooling"]["level"])

    @property
    def labels(self) -> dict[str, str]:
        """Label of each site; where two sites share a label, the site's id follows."""
        labels = {status["site"]: status.get("label") or status["site"] for status in self.statuses}
        shared = {label for label in labels.values() if list(labels.values()).count(label) > 1}
        named = {site: f"{label} ({site})" if label in shared else label for site, label in labels.items()}
        return {**named, contract.POOLED: "All sites, pooled"}

    @property
    def n_sites(self) -> int:
        """How many sites there are; small ones may stand together in one status."""
        return sum(status.get("n_sites", 1) for status in self.statuses)

    @property
    def n_included(self) -> int:
        """How many of them are in the results."""
        return sum(status.get("n_sites", 1) for status in self.included)

    @property
    def included(self) -> list[dict[str, Any]]:
        """Statuses of the sites that are in the results."""
        return [status for status in self.statuses if status["status"] != EXCLUDED]

    @property
    def excluded(self) -> list[dict[str, Any]]:
        """Statuses of the sites that were left out."""
        return [status for status in self.statuses if status["status"] == EXCLUDED]


def distinct(table: pd.DataFrame) -> pd.DataFrame:
    """Return each row once that stands several times because several published figures speak to it."""
    beside = ("claim", "published", "difference")
    return table[~table.duplicated([name for name in table.columns if name not in beside])]


def head(data: ReportData) -> StudyHead:
    """Return what stands at the top of every page."""
    study = data.options["study"]
    left_out = tuple(
        LeftOut(data.labels[status["site"]], why_left_out(status.get("reasons", ())), f"{status['site']}.html") for status in data.excluded
    )
    not_pooled = pooled_sites.left_out(data.statuses, data.options["pooling"]["sites"])
    left_out += tuple(LeftOut(data.labels[site], f"left out of pooling: {reason}", f"{site}.html") for site, reason in not_pooled.items())
    return StudyHead(
        title=study["title"],
        simulated=bool(study["simulated"]),
        scenario=data.scenario,
        version=data.provenance["version"],
        data_digest=data.provenance["data_digest"],
        config_digest=data.provenance["config_digest"],
        code_digest=data.provenance["code_digest"],
        n_sites=data.n_sites,
        left_out=left_out,
        withheld=withheld(data.provenance.get("disclosure")),
    )


def withheld(limits: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return what disclosure control did to the results of a page, in sentences; none where it has not seen them.

    Parameters
    ----------
    limits : mapping or None
        The profile and its limits, as the provenance of published results has them.
    """
    if limits is None:
        return ()
    if limits["name"] == "internal":
        return ("Profile “internal”: nothing is withheld. These pages are for the study’s own people.",)
    told = [
        f"Profile “{limits['name']}”: what rests on fewer than {limits['min_clients']} clients or "
        f"{limits['min_therapists']} therapists, or would let such a number be worked out, is withheld."
    ]
    if limits["round_counts_to"] > 1:
        told.append(
            f"Counts are rounded to multiples of {limits['round_counts_to']}, each by itself, so sums of them can differ. Other numbers "
            "are rounded as they are printed, so what is worked out from them on a page can differ in its last digit."
        )
    if limits["accepted_by"]:
        told.append(f"Limits weaker than those of the profile were accepted by {limits['accepted_by']}.")
    return tuple(told)


def read_tables(folder: Path, questions: Sequence[str]) -> dict[str, dict[str, pd.DataFrame]]:
    """Read the tables of the given questions; a question without a folder has none."""
    return {
        question: {path.stem: read_table(path, question) for path in sorted((Path(folder) / question).glob("*.csv"))}
        for question in questions
    }


def read_table(path: Path, question: str) -> pd.DataFrame:
    """Read one result table with the types of its schema; unknown numbers are missing, unknown text is empty.

    Text is held as Python objects: pages choose rows from wide tables thousands of times, which takes all columns of one kind at once.
    """
    try:
        schema = contract.table_types(contract.table(question, path.stem))
    except KeyError:
        return _read_csv(path)
    return _read_typed(path, schema)


def read_sensitivity_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the tables of ``results/sensitivity/tables/`` that are there."""
    from alliance.sensitivity.contract import TABLES

    paths = {schema.name: Path(folder) / f"{schema.name}.csv" for schema in TABLES}
    return {schema.name: _read_typed(paths[schema.name], contract.table_types(schema)) for schema in TABLES if paths[schema.name].exists()}


_TYPES = {contract.TEXT: object, contract.NUMBER: "float64", contract.COUNT: "Int64"}


def _read_typed(path: Path, schema: dict[str, str]) -> pd.DataFrame:
    numbers = [name for name, kind in schema.items() if kind != contract.TEXT]
    types = {name: _TYPES[kind] for name, kind in schema.items()}
    cells = pd.read_csv(path, dtype=types, keep_default_na=False, na_values={name: [""] for name in numbers}, encoding="utf-8")
    for name, kind in schema.items():
        if name not in cells:
            cells[name] = pd.Series("" if kind == contract.TEXT else None, index=cells.index, dtype=_TYPES[kind])
        elif kind == contract.TEXT:
            cells[name] = _unprotected(cells[name])
    return cells[list(schema)].copy()


def _unprotected(cells: pd.Series) -> pd.Series:
    """Return text without the apostrophe by which results' files keep spreadsheets from running cells such as the operator =~."""
    text = cells.tolist()
    if "\n'" not in "\n" + "\n".join(text):
        return cells
    return pd.Series([cell[1:] if cell[:1] == "'" and cell[1:2] in _RUN else cell for cell in text], index=cells.index, dtype=object)


def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(
        path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(("site", "scenario", "scale", "item"), str), encoding="utf-8"
    )


def read_site_statistics(folder: Path, sites: Sequence[str], name: str) -> pd.DataFrame:
    """Read a table of statistics of every site and put the sites below each other."""
    frames = [_read_csv(Path(folder) / site / name) for site in sites]
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else (frames[0] if frames else pd.DataFrame())


def read(
    *,
    scenario: str,
    sites: Sequence[str],
    site_tables: Path,
    scores: Path,
    tables: Path,
    issues: Path,
    config: Path,
    constants: Path,
    provenance: Path,
    instruments: Mapping[str, Any],
    benchmarks: Path,
    references: Path,
    coverage: Path,
    preregistration: Mapping[str, Any] | None,
    deviations: Path,
    guide: Path | None = None,
    headlines: Path | None = None,
    workbook: str = "",
) -> ReportData:
    """Read everything that a scenario's pages are made from; without a guide the study page has no priorities and there is no checklist."""
    options = read_json(config)
    questions = [name for name, chosen in options["questions"].items() if chosen.get("enabled")]
    return ReportData(
        scenario=scenario,
        options=options,
        provenance=read_json(provenance),
        constants=read_json(constants),
        statuses=[read_json(Path(site_tables) / site / "status.json") for site in sites],
        issues=issue_records.from_csv(Path(issues).read_text(encoding="utf-8")),
        tables=read_tables(tables, questions),
        scale_moments=read_site_statistics(scores, sites, "scale_moments.csv"),
        instruments=instruments,
        benchmarks=published.read(benchmarks),
        references=bibliography.parse(Path(references).read_text(encoding="utf-8")),
        coverage=simulated.read(coverage),
        preregistration=preregistration,
        deviations=read_deviations(deviations),
        guide=report_guide.read(guide, headlines) if guide is not None and headlines is not None else Guide(),
        workbook=workbook,
    )


def read_deviations(path: Path) -> pd.DataFrame:
    """Read ``deviations.csv``: all text, empty where there is none."""
    cells = pd.read_csv(path, dtype=object, keep_default_na=False, encoding="utf-8")
    return pd.DataFrame({name: _unprotected(cells[name]) for name in cells}, dtype=object)


def question_module(question: str) -> Any:
    """Return a question's module."""
    return importlib.import_module(f"alliance.questions.{question}.question")


def parsed_sites(text: str) -> list[str]:
    """Return the sites of a command line, given as a JSON list."""
    return json.loads(text)
