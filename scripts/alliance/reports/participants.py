"""Who took part, in words and tables: by site for the study page, beside all sites for a site's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alliance.questions.client_factors.participants import CASELOAD, CLIENT, MEAN, NAME, SD, SHARE, THERAPIST
from alliance.questions.contract import POOLED
from alliance.reports import numbers
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Column, Table, listed, number_cell
from alliance.reports.inputs import ReportData

QUESTION = "client_factors"
IDS = {CLIENT: "participants", THERAPIST: "participants-therapists"}
CAPTIONS = {CLIENT: "Clients who took part", THERAPIST: "Therapists of these clients"}
AVERAGED = {
    CLIENT: {"age": "Age", "planned_sessions": "Planned sessions"},
    THERAPIST: {CASELOAD: "Clients each", "age": "Age", "years": "Years of experience", "cases": "Cases so far"},
}
COUNTED = {CLIENT: {"gender": "Gender", "treatment": "Treatment"}, THERAPIST: {"training": "Training"}}
ALL_SITES = "All sites"
WITHHELD = "withheld"
ASKED = "not estimable: needs the question of client factors (questions.client_factors.enabled), which describes participants"

Rows = Mapping[tuple[str, str, str], Sequence[Any]]
"""Rows of one site by person, characteristic and kind of number."""


def sentences(data: ReportData) -> list[str]:
    """Return who took part over all sites (of a single site: there), in sentences."""
    found = by_site(data)
    told = [site for site, rows in found.items() if site != POOLED and _has_numbers(rows)]
    over = found.get(POOLED, {}) if len(told) != 1 else found[told[0]]
    if not told and not _has_numbers(over):
        return [f"Who took part: {ASKED if not found else 'not estimable: needs sites that tell of their clients'}."]
    clients, therapists = _clients_told(data, over), _therapists_told(data, over)
    return [one for one in (*clients, *therapists, _not_known(over)) if one]


def _clients_told(data: ReportData, rows: Rows) -> list[str]:
    made = []
    if age := _number(data, rows, CLIENT, "age"):
        everybody = not _share_missing(rows, CLIENT, "age", MEAN)
        people = common.plural(_people(rows, CLIENT, "age"), "client")
        made.append(f"{f'The {people}' if everybody else f'{people} of known age'} were {age[0]} years old on average{age[1]}.")
    for characteristic, label in COUNTED[CLIENT].items():
        if words := _shares(data, rows, CLIENT, characteristic):
            made.append(f"{label}: {words}.")
    if planned := _number(data, rows, CLIENT, "planned_sessions"):
        made.append(f"On average {planned[0]} sessions were planned{planned[1]}.")
    return made


def _therapists_told(data: ReportData, rows: Rows) -> list[str]:
    made = []
    if each := _number(data, rows, THERAPIST, CASELOAD):
        people = common.plural(_people(rows, THERAPIST, CASELOAD), "therapist")
        made.append(f"{people} saw these clients, {each[0]} each on average{each[1]}.")
    if years := _number(data, rows, THERAPIST, "years"):
        made.append(f"They had {years[0]} years of experience{years[1]}.")
    if words := _shares(data, rows, THERAPIST, "training"):
        made.append(f"Their training: {words}.")
    return made


def _not_known(rows: Rows) -> str:
    """Return of how many people something is not known, where that is told."""
    lacking = []
    for person in (CLIENT, THERAPIST):
        for characteristic, label in {**AVERAGED[person], **COUNTED[person]}.items():
            kind = SHARE if characteristic in COUNTED[person] else MEAN
            if share := _share_missing(rows, person, characteristic, kind):
                lacking.append(f"{label.lower()} of {numbers.percent(share, 1)} of the {person}s")
    return f"Not known: {'; '.join(lacking)}." if lacking else ""


def tables(data: ReportData) -> list[Table]:
    """Return the clients and their therapists by site, all sites last."""
    found = by_site(data)
    return [_table(data, found, person) for person in (CLIENT, THERAPIST)] if found else []


def _table(data: ReportData, found: Mapping[str, Rows], person: str) -> Table:
    rows, emphasised = [], set()
    for site in [*(status["site"] for status in data.statuses if status["site"] in found), POOLED]:
        own = found.get(site, {})
        if site == POOLED:
            emphasised.add(len(rows))
        cells = [Cell(ALL_SITES if site == POOLED else data.labels[site]), common.count_cell(_most(own, person))]
        for characteristic in AVERAGED[person]:
            cells += [_average_cell(data, own, person, characteristic), _missing_cell(own, person, characteristic, MEAN)]
        for characteristic in COUNTED[person]:
            cells += [_words_cell(data, own, person, characteristic), _missing_cell(own, person, characteristic, SHARE)]
        rows.append((*cells, Cell(_remark(own, person))))
    columns = [Column("Site"), Column(f"{person.capitalize()}s", True)]
    for label in AVERAGED[person].values():
        columns += [Column(f"{label}, M (SD)", True, optional=True), Column(f"{label}: not known", True, optional=True)]
    for label in COUNTED[person].values():
        columns += [Column(label, wide=True, optional=True), Column(f"{label}: not known", True, optional=True)]
    columns.append(Column("Remark", wide=True, optional=True))
    note = "M: mean; SD: standard deviation. The row of all sites describes all people together. A dash means that nothing was sent" + (
        f"; {WITHHELD}: it would tell of few people." if any(WITHHELD in cell.text for row in rows for cell in row) else "."
    )
    return Table(IDS[person], CAPTIONS[person], tuple(columns), tuple(rows), note=note, emphasised=frozenset(emphasised))


def site_table(data: ReportData, site: str, found: Mapping[str, Rows] | None = None) -> Table:
    """Return one site's clients and therapists beside those of all sites, where the rest of these is not few people.

    ``found`` from :func:`by_site`, made once for all sites.
    """
    found = by_site(data) if found is None else found
    own, over = found.get(site, {}), found.get(POOLED, {})
    rows = []
    for person in (CLIENT, THERAPIST):
        for characteristic, label in {**AVERAGED[person], **COUNTED[person]}.items():
            kind = SHARE if characteristic in COUNTED[person] else MEAN
            if not any(common.has_number(one) for one in own.get((person, characteristic, kind), ())):
                continue
            shown = (
                over if kind == MEAN else {**over, (person, characteristic, SHARE): _told_beside(data, own, over, person, characteristic)}
            )
            few = kind == MEAN and _rest_is_few(data, own, over, person, characteristic)
            cell = _words_cell if kind == SHARE else _average_cell
            rows.append(
                (
                    Cell(label if person == CLIENT else f"Therapists: {label.lower()}"),
                    cell(data, own, person, characteristic),
                    common.count_cell(_people(own, person, characteristic)),
                    Cell(WITHHELD, "") if few else cell(data, shown, person, characteristic),
                )
            )
    columns = (Column("Characteristic"), Column("This site", wide=True), Column("Known of", True), Column(ALL_SITES, wide=True))
    note = "Means with standard deviations in brackets; shares in percent."
    return Table(
        "participants", "Who took part here, and at all sites", columns, tuple(rows), note=note, empty="The site tells nothing of it."
    )


def _rest_is_few(data: ReportData, own: Rows, over: Rows, person: str, characteristic: str) -> bool:
    here, everywhere = _people(own, person, characteristic), _people(over, person, characteristic)
    return numbers.known(everywhere) and 0 < everywhere - here < data.options["pooling"]["min_clients"]


def _told_beside(data: ReportData, own: Rows, over: Rows, person: str, characteristic: str) -> list[Any]:
    """Return the shares over all sites; those that would tell of few people elsewhere are withheld, and never one alone."""
    fewest = data.options["pooling"]["min_clients"]
    here = {one.category: one for one in own[person, characteristic, SHARE] if common.has_number(one)}
    rows = list(over.get((person, characteristic, SHARE), ()))
    rest = {}
    for one in rows:
        if common.has_number(one):
            mine = here.get(one.category)
            rest[one.category] = round(one.estimate * _of(one)) - (round(mine.estimate * _of(mine)) if mine else 0)
    everybody = sum(rest.values())
    hidden = {category for category, count in rest.items() if 0 < count < fewest or 0 < everybody - count < fewest}
    for category in sorted(rest, key=lambda name: (rest[name], name)):
        if hidden and (len(hidden) < 2 or sum(rest[name] for name in hidden) < fewest):
            hidden.add(category)
    return [one._replace(status=WITHHELD) if one.category in hidden else one for one in rows]


def by_site(data: ReportData) -> dict[str, Rows]:
    """Return the rows of every site by what they tell."""
    found: dict[str, dict[tuple[str, str, str], list[Any]]] = {}
    for row in common.tuples(common.table_of(data, QUESTION, NAME)):
        found.setdefault(row.site, {}).setdefault((row.person, row.characteristic, row.estimate_type), []).append(row)
    return found


def _has_numbers(rows: Rows) -> bool:
    return any(common.has_number(one) for parts in rows.values() for one in parts)


def _of(row: Any) -> int:
    """Return how many people a row describes."""
    return row.n_clients if row.person == CLIENT else row.n_therapists


def _people(rows: Rows, person: str, characteristic: str) -> Any:
    kinds = (MEAN, SHARE)
    return next((_of(one) for kind in kinds for one in rows.get((person, characteristic, kind), ()) if numbers.known(_of(one))), None)


def _most(rows: Rows, person: str) -> Any:
    """Return of how many people anything is known."""
    known = [_of(one) for (who, _, _), parts in rows.items() if who == person for one in parts if numbers.known(_of(one))]
    return max(known, default=None)


def _number(data: ReportData, rows: Rows, person: str, characteristic: str) -> tuple[str, str] | None:
    """Return a mean and its standard deviation as they are read; None where there is none."""
    mean, spread = (next(iter(rows.get((person, characteristic, kind), ())), None) for kind in (MEAN, SD))
    if mean is None or not common.has_number(mean):
        return None
    known = spread is not None and common.has_number(spread)
    return (
        numbers.decimal(mean.estimate, data.decimals),
        f" (SD{numbers.SPACE}={numbers.SPACE}{numbers.decimal(spread.estimate, data.decimals)})" if known else "",
    )


def _shares(data: ReportData, rows: Rows, person: str, characteristic: str) -> str:
    """Return the shares of all categories as they are read, the largest first; empty where there is none."""
    parts = [one for one in rows.get((person, characteristic, SHARE), ()) if one.category]
    known = sorted((one for one in parts if common.has_number(one)), key=lambda one: (-one.estimate, one.category))
    hidden = sorted(_category(one) for one in parts if one.status == WITHHELD)
    if hidden and not known:
        return WITHHELD
    exact = data.provenance.get("disclosure", {}).get("round_counts_to", 1) == 1
    said = [_share(one, exact) for one in known]
    return "; ".join([*([", ".join(said)] if said else []), *([f"{listed(hidden)} withheld"] if hidden else [])])


def _category(row: Any) -> str:
    # A bare number would be read as one more count.
    return f"“{row.category}”" if row.category.isnumeric() else row.category.replace("_", " ")


def _share(row: Any, exact: bool) -> str:
    count = f"{numbers.SPACE}({numbers.count(round(row.estimate * _of(row)))})" if exact else ""
    return f"{_category(row)}{numbers.SPACE}{numbers.percent(row.estimate)}{count}"


def _average_cell(data: ReportData, rows: Rows, person: str, characteristic: str) -> Cell:
    parts = rows.get((person, characteristic, MEAN), ())
    if any(one.status == WITHHELD for one in parts):
        return Cell(WITHHELD, "")
    told = _number(data, rows, person, characteristic)
    if told is None:
        return Cell(numbers.UNKNOWN, "")
    spread = next(iter(rows.get((person, characteristic, SD), ())), None)
    known = spread is not None and common.has_number(spread)
    deviation = f"{numbers.SPACE}({numbers.decimal(spread.estimate, data.decimals)})" if known else ""
    return number_cell(told[0] + deviation, parts[0].estimate)


def _words_cell(data: ReportData, rows: Rows, person: str, characteristic: str) -> Cell:
    return Cell(_shares(data, rows, person, characteristic) or numbers.UNKNOWN)


def _missing_cell(rows: Rows, person: str, characteristic: str, kind: str) -> Cell:
    share = _share_missing(rows, person, characteristic, kind)
    return number_cell(numbers.percent(share, 1), share) if share else Cell(numbers.UNKNOWN, "")


def _share_missing(rows: Rows, person: str, characteristic: str, kind: str) -> float:
    """Return the share of people of whom something is not known; 0 where it is known of all, or this is not told."""
    told = [one.share_missing for one in rows.get((person, characteristic, kind), ()) if common.has_number(one)]
    return float(told[0]) if told and numbers.known(told[0]) else 0.0


def _remark(rows: Rows, person: str) -> str:
    """Return why numbers are lacking, each reason once."""
    silent = [one for (who, _, _), parts in rows.items() if who == person for one in parts if one.status == "not_estimable"]
    return "; ".join(dict.fromkeys(common.remark(one) for one in silent))
