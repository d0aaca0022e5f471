"""Comparing a run with the one before, and keeping it for the next: ``results/changes/``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alliance.changes.comparison import compare
from alliance.changes.page import main_scenario, page
from alliance.changes.state import read_state, site_inputs, snapshot, write_state
from alliance.configuration.study import BASE, Study
from alliance.files import PRIVATE, write_csv, write_text
from alliance.questions.headlines import load_headlines

FOLDER = "results/changes"
STATE = "state.json"
PAGE = "index.html"


@dataclass(frozen=True)
class Told:
    """What the user is told of a comparison: where its page is, and how many headline numbers of how many changed (None: first run)."""

    page: Path
    changed: int | None
    compared: int


def record_changes(study: Study, scenarios: Sequence[str], headlines: Path, templates: Path) -> Told | None:
    """Compare the scenarios of a run that ended well with how they stood before, write what changed, and keep how they stand.

    Where nothing differs, the files of the last comparison stay as they are.

    Parameters
    ----------
    study : Study
    scenarios : sequence of str
        The scenarios asked for in this run; ``base`` is computed beside them. Others keep what is known of them from the run in which they
        were last computed.
    headlines : Path
        The list of headline numbers.
    templates : Path
        Folder of the templates.

    Returns
    -------
    Told or None
        None where nothing differs.
    """
    folder = study.folder / FOLDER
    before = read_state(folder / STATE)
    listed = load_headlines(headlines)
    inputs = site_inputs(study)
    found = {name: snapshot(study, name, listed, inputs, before.get(name)) for name in dict.fromkeys((BASE, *scenarios))}
    now = {name: one for name, one in found.items() if one is not None}
    kept = [name for name in study.scenarios if (study.folder / "results" / name / "provenance.json").exists()]
    removed = [name for name in before if name not in kept]
    if not now or (not removed and all(before.get(name) == one for name, one in now.items()) and (folder / PAGE).exists()):
        return None
    comparison = compare(before, now, kept)
    for name in ("headlines", "inputs", "sites", "configuration", "versions"):
        write_csv(folder / f"{name}.csv", getattr(comparison, name))
    write_text(folder / PAGE, page(comparison, templates, scenarios[0]))
    # Last, so that an interruption leaves the next run to compare with the same state; private, since it holds a digest of withdrawn ids.
    write_state(folder / STATE, {name: one for name, one in before.items() if name in kept} | now, PRIVATE)
    rows = comparison.headlines
    own = rows[rows["scenario"].eq(main_scenario(comparison))]
    changed = int(own["changed"].ne("no").sum()) if main_scenario(comparison) in comparison.compared else None
    return Told(folder / PAGE, changed, len(own))
