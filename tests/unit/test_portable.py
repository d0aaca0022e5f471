"""Scores for other programs: names they accept, the numbers and labels that each program finds, and the same bytes every time."""

from __future__ import annotations

import json
import re
import stat
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyreadstat
import pytest
from alliance.files import write_csv, write_json, write_parquet
from alliance.instruments import load_registry
from alliance.portable import READS
from alliance.portable.client_table import client_table, study_variables
from alliance.portable.names import LONGEST, legal_names
from alliance.portable.session_table import session_table
from alliance.portable.statistical_files import dta_without_time, sav_without_time, write_private
from alliance.portable.tables import Column, PortableTable, codebook
from alliance.questions.site_data import SiteData
from alliance.variables.checks import CONSTRUCTS, section
from alliance.variables.client import client_level
from export_scores import main as export_scores
from simulated_site import OPTIONS, score_rows, simulated, site_of
from support import PROJECT, pipeline

REGISTRY = load_registry([PROJECT / "workflow" / "instruments"])
NAMES = ["north", "west"]
MAIN = OPTIONS["questions"]["path_models"]["models"]["main"]
SHARED = {"alliance_3": {"construct": "alliance", "window": "session_3"}, "early_alliance": {"construct": "alliance"}}
CONFIGURATION = OPTIONS | {"questions": OPTIONS["questions"] | {"path_models": OPTIONS["questions"]["path_models"] | {"variables": SHARED}}}
RANGES = {("care", "total", "client"): (10.0, 50.0), ("core_10", "total", "client"): (0.0, 40.0)}


def north() -> SiteData:
    """A site with everything: dates, a gender, reasons of termination; session 2 of client 5 is without a score."""
    site = simulated("north", n=60, therapists=6, seed=3)
    scores = site.scores.assign(
        site="north",
        date=pd.Timestamp("2024-03-01") + pd.to_timedelta(site.scores["session"].astype("float64").fillna(0) * 7, unit="D"),
    )
    scores.loc[scores["client_no"].eq(5) & scores["session"].eq(2), ["score", "score_mean", "score_sum"]] = np.nan
    clients = site.clients.assign(
        site="north",
        client_id=[f"h{number:04d}" for number in site.clients["client_no"]],
        gender=["female", "male", None] * 20,
        start_date=pd.Timestamp("2024-02-01"),
    )
    reasons = ["planned", "unilateral", "ongoing"] * 20
    termination = pd.DataFrame({"client_no": site.clients["client_no"], "reason": reasons})
    return replace(site, scores=scores, clients=clients, termination=termination, instruments=REGISTRY)


def west() -> SiteData:
    """A site with another alliance measure, no clients table, no dates, and the empathy in another unit."""
    client = np.arange(1, 21)
    scores = [
        score_rows(client, np.linspace(2, 5, 20), instrument="haq_2", session=3),
        score_rows(client, np.linspace(1, 4, 20), instrument="care", session=1),
        score_rows(client, np.linspace(10, 30, 20), instrument="core_10", timepoint="follow_up", unit="sum"),
        score_rows(client[:4], np.linspace(11, 14, 4), instrument="core_10", timepoint="follow_up", unit="sum"),
        score_rows(client, np.linspace(1, 5, 20), instrument="wai_sr", session=3, derived_from="wai_36"),
    ]
    site = site_of(scores, "west")
    return replace(site, scores=site.scores.assign(site="west"), instruments=REGISTRY)


@pytest.fixture(scope="module")
def sites() -> list[SiteData]:
    return [north(), west()]


@pytest.fixture(scope="module")
def sessions(sites) -> PortableTable:
    return session_table(sites, NAMES, RANGES)


@pytest.fixture(scope="module")
def clients(sites) -> PortableTable:
    return client_table(sites, NAMES, CONFIGURATION, RANGES)


def test_an_export_reads_the_section_of_every_construct():
    assert {section(construct) or construct for construct in CONSTRUCTS} <= set(READS)


def test_names_are_legal_in_every_program_and_differ():
    wanted = [
        ("wai_36", "task", "client"),
        ("vtas", "therapist_contribution", "observer"),
        ("vtas", "therapist_contribution_and_more_of", "observer"),
        ("vtas", "therapist_contribution_and_more_on", "observer"),
        ("x" * 40,),
        ("x" * 41,),
        ("Über alles",),
        ("360", "total"),
        ("with",),
        ("str12",),
        ("all",),
        ("a", "b_c"),
        ("a_b", "c"),
    ]
    found = legal_names(wanted)
    assert found == legal_names(wanted)
    assert len(set(found)) == len(found)
    for name in found:
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name) and not name.endswith("_"), name
    assert found[0] == "wai_36_task_client"
    assert found[1] == "vtas_therapist_contribu_observer" and len(found[1]) == LONGEST
    assert found[2:4] == ["vtas_therapist_contribu_observ_2", "vtas_therapist_contribu_observ_3"]
    assert found[5] == "x" * 30 + "_2"
    assert found[7:11] == ["v_360_total", "with_v", "str12_v", "all_v"]
    assert found[11:] == ["a_b_c", "a_b_c_2"]


def test_sessions_hold_every_score_once_in_its_own_column(sites, sessions):
    frame = sessions.frame
    assert not frame.duplicated(["site", "client_no", "timepoint", "session", "occasion"]).any()
    scores_of = [name for name, column in sessions.columns.items() if column.instrument]
    order = {"intake": 0, "session": 1, "post": 2, "follow_up": 3}
    for site in sites:
        rows = frame[frame["site"].eq(site.site)]
        own = site.scores[site.scores["score"].notna()]
        assert len(own) == rows[scores_of].notna().sum().sum()
        for (instrument, scale, rater), scores in own.groupby(["instrument", "scale", "rater"]):
            if instrument == "care":
                continue
            name = f"{instrument}_{scale}_{rater}"
            found = rows.dropna(subset=[name]).sort_values(["client_no", "timepoint", "session", "occasion"])
            expected = scores.assign(time=scores["timepoint"].map(order)).sort_values(["client_no", "time", "session", "score"])
            assert found["client_no"].tolist() == expected["client_no"].tolist()
            if site.site == "north":
                assert found[name].tolist() == expected["score"].tolist()
    assert not [name for name in frame if "client_id" in name or "date" in name or "therapist_id" in name]


def test_days_count_from_the_first_dated_rating_and_no_date_is_told(sessions):
    frame = sessions.frame
    dated = frame[frame["site"].eq("north") & frame["timepoint"].eq(1)]
    assert (dated["days"] == dated["session"] * 7).all()
    assert frame.loc[frame["site"].eq("west"), "days"].isna().all()


def test_a_rating_given_again_without_session_number_is_another_occasion(sessions):
    again = sessions.frame.query("site == 'west' and timepoint == 3 and client_no <= 4")
    assert again["occasion"].tolist() == [1, 2] * 4
    assert sessions.frame.query("site == 'west' and timepoint == 3")["core_10_total_client"].notna().sum() == 24


def test_scores_in_two_units_become_means_and_the_codebook_says_so(sites, sessions):
    column = sessions.columns["care_total_client"]
    assert column.unit == "mean" and "mean" in column.note and column.limits is None
    expected = pd.concat([site.scores[site.scores["instrument"].eq("care")] for site in sites])["score_mean"]
    assert sorted(sessions.frame["care_total_client"].dropna()) == sorted(expected)
    book = codebook([sessions]).set_index("name")
    assert book.loc["core_10_total_client", ["minimum", "maximum", "unit", "direction"]].tolist() == [0.0, 40.0, "sum", "higher is worse"]
    assert book.loc["wai_sr_total_client", "note"] == "at some sites from the items of wai_36"
    assert book.loc["core_10_total_client", "label"].startswith("Total, client (sum): CORE-10")
    assert (book["n"] + book["missing"] == len(sessions.frame)).all()


def test_clients_hold_the_study_variables_as_the_questions_see_them(sites, clients):
    frame = clients.frame
    assert len(frame) == 80 and not frame.duplicated(["site", "client_no"]).any()
    for (name, _), definition in study_variables(CONFIGURATION).items():
        for site in sites:
            expected = client_level(site, definition, CONFIGURATION)
            found = frame[frame["site"].eq(site.site)].set_index("client_no")[name].dropna()
            pd.testing.assert_series_equal(found, expected, check_names=False, check_index_type=False)
    assert {"alliance_3", "alliance_late", "intake", "outcome", "early_gain", "dropout", "life_events"} <= set(frame)


def test_equal_definitions_stand_once_and_other_meanings_of_a_name_get_their_own_column():
    changed = json.loads(json.dumps(CONFIGURATION))
    section = changed["questions"]["path_models"]
    section["variables"]["alliance_early"] = {"construct": "alliance", "window": "early"}
    section["models"]["other"] = MAIN | {"variables": MAIN["variables"] | {"outcome": {"construct": "change"}}}
    names = [name for name, _ in study_variables(changed)]
    assert names.count("alliance_early") == 1 and names.count("empathy") == 1
    assert names.count("outcome") == 2
    table = client_table([replace(west(), instruments=REGISTRY)], NAMES, changed, {})
    assert {"outcome", "outcome_2"} <= set(table.columns)


def test_measures_that_differ_by_site_are_named_and_have_no_common_range(clients):
    book = codebook([clients]).set_index("name")
    alliance = book.loc["alliance_3"]
    assert alliance["instrument"] == "wai_36, haq_2" and "measures differ by site" in alliance["label"]
    assert "at north: wai_36.total (client, mean)" in alliance["note"] and np.isnan(alliance["minimum"])
    intake = book.loc["intake"]
    assert intake[["minimum", "maximum", "direction"]].tolist() == [-40.0, 0.0, "higher is better"]
    assert "not at west: no client-rated total score of core_10" in intake["note"]
    assert book.loc["early_gain", "n"] == 0 and "not at north, west" in book.loc["early_gain", "note"]
    assert book.loc["dropout", "values"] == "0 = stayed; 1 = dropped out" and book.loc["dropout", "maximum"] == 1


def test_texts_of_the_clients_table_become_codes_and_ids_and_dates_stay_out(clients):
    assert clients.columns["gender"].codes == {1: "female", 2: "male"}
    counts = clients.frame["gender"].value_counts(dropna=False)
    assert counts[1.0] == 20 and counts[2.0] == 20 and counts[np.nan] == 40
    assert not {"client_id", "start_date"} & set(clients.columns)


@pytest.mark.parametrize("which", ["sessions", "clients"])
@pytest.mark.parametrize("ending", ["sav", "dta", "csv"])
def test_every_program_finds_the_numbers_and_labels(request, tmp_path, which, ending):
    table: PortableTable = request.getfixturevalue(which)
    path = tmp_path / f"{which}.{ending}"
    write_private(path, table)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    labels, codes = {}, {}
    if ending == "sav":
        found, meta = pyreadstat.read_sav(str(path), user_missing=True)
        labels, codes = meta.column_names_to_labels, meta.variable_value_labels
        assert not meta.missing_ranges and meta.file_label == table.label
    elif ending == "dta":
        with pd.io.stata.StataReader(path, convert_categoricals=False) as reader:
            found, labels = reader.read(), reader.variable_labels()
            sets = reader.value_labels()
            codes = {name: sets[label_set] for name, label_set in zip(reader._varlist, reader._lbllist) if label_set}
            assert reader.data_label == table.label
    else:
        found = pd.read_csv(path)
    pd.testing.assert_frame_equal(found, table.frame, check_dtype=False, check_exact=True, check_column_type=False)
    if ending == "csv":
        return
    for name, column in table.columns.items():
        expected = column.label if ending == "sav" or len(column.label) <= 80 else column.label[:77].rstrip() + "..."
        assert labels[name] == expected
        assert codes.get(name, {}) == dict(column.codes)


@pytest.mark.parametrize("ending", ["sav", "dta", "csv"])
def test_the_same_table_gives_the_same_bytes_at_another_time(tmp_path, sessions, ending):
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    write_private(first, sessions)
    time.sleep(1.1)
    write_private(second, sessions)
    assert first.read_bytes() == second.read_bytes()


def test_the_time_of_writing_is_replaced_where_it_stands(tmp_path):
    frame = pd.DataFrame({"x": [1.0]})
    pyreadstat.write_sav(frame, str(tmp_path / "a.sav"))
    pyreadstat.write_dta(frame, str(tmp_path / "a.dta"), version=15)
    sav, dta = (tmp_path / "a.sav").read_bytes(), (tmp_path / "a.dta").read_bytes()
    (tmp_path / "a.sav").write_bytes(sav_without_time(sav))
    (tmp_path / "a.dta").write_bytes(dta_without_time(dta))
    assert pyreadstat.read_sav(str(tmp_path / "a.sav"))[1].creation_time == pd.Timestamp("2025-11-03 12:00:00")
    with pd.io.stata.StataReader(tmp_path / "a.dta") as reader:
        assert reader.time_stamp == "03 Nov 2025 12:00"
    with pytest.raises(ValueError, match="subsection not found"):
        dta_without_time(b"no Stata file")


def test_cells_that_a_spreadsheet_would_run_are_defused(tmp_path):
    table = PortableTable("t", "T", {"word": Column(("word",), "W", np.array(["=1+1", "plain"], dtype=object))})
    write_private(tmp_path / "t.csv", table)
    assert "\n=1+1" not in (tmp_path / "t.csv").read_text(encoding="utf-8")


def write_site(folder: Path, site: SiteData, status: str = "ok") -> None:
    tables, scores = folder / "sites" / site.site, folder / "scores" / site.site
    write_json(tables / "status.json", {"site": site.site, "label": site.site, "data": "rows", "status": status})
    if len(site.clients):
        write_parquet(tables / "clients.parquet", site.clients)
    write_parquet(scores / "scores.parquet", site.scores)
    moments = pd.DataFrame(
        {
            **{"instrument": ["core_10"], "scale": ["total"], "rater": ["client"]},
            **{"minimum_possible": [0], "maximum_possible": [40]},
        }
    )
    write_csv(scores / "scale_moments.csv", moments)


def export(folder: Path, ending: str, sites: dict[str, str]) -> None:
    files = {"--sessions": f"sessions.{ending}", "--clients": f"clients.{ending}", "--origin": "origin.json", "--codebook": "variables.csv"}
    output = folder / "private" / "export" / "base"
    call = ["--sites", json.dumps(sites), "--site-tables", folder / "sites", "--scores", folder / "scores"]
    call += ["--instruments", *sorted((PROJECT / "workflow" / "instruments").glob("*.yaml")), "--options", json.dumps(CONFIGURATION)]
    for option, name in files.items():
        call += [option, output / name]
    assert export_scores([str(part) for part in call]) == 0


def test_the_script_writes_closed_files_of_the_sites_that_share_rows(tmp_path, sites):
    write_site(tmp_path, sites[0])
    write_site(tmp_path, sites[1], status="excluded")
    export(tmp_path, "dta", {"north": "", "west": "0123"})
    output = tmp_path / "private" / "export" / "base"
    assert {stat.S_IMODE(path.stat().st_mode) for path in output.iterdir()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (output, output.parent, output.parent.parent)} == {0o700}
    found = pd.read_stata(output / "clients.dta", convert_categoricals=False)
    assert set(found["site"]) == {"north"} and len(found) == 60
    assert json.loads((output / "origin.json").read_text(encoding="utf-8")) == {"north": "", "west": "0123"}


@pytest.mark.parametrize("ending", ["sav", "dta", "csv"])
def test_a_study_without_rows_gives_files_without_rows(tmp_path, sites, ending):
    write_site(tmp_path, sites[0], status="excluded")
    export(tmp_path, ending, {"north": ""})
    folder = tmp_path / "private" / "export" / "base"
    read = {"sav": lambda path: pyreadstat.read_sav(path)[0], "dta": pd.read_stata, "csv": pd.read_csv}[ending]
    for name in ("sessions", "clients"):
        found = read(str(folder / f"{name}.{ending}"))
        assert len(found) == 0 and "client_no" in found


def test_an_unknown_format_is_answered_with_the_three(tmp_path):
    for words in ([], ["--format", "xlsx"]):
        result = pipeline("export", PROJECT / "config.yaml", *words)
        assert result.returncode == 2
        assert "FORMAT: must be sav (SPSS), csv (text) or dta (Stata)" in result.stdout
        assert result.stdout.strip().splitlines()[-1].startswith("exit status 2:")
