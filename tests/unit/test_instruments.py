"""The registry: shipped maps agree with what is published, own files override, and every fault is named at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from alliance.configuration.errors import ConfigurationError
from alliance.instruments import Instrument, Response, load_files, load_registry
from alliance.instruments.content import SHARED_CONSTRUCTS, content_matrix, parallel
from alliance.instruments.dictionary import dictionary_entries

PROJECT = Path(__file__).resolve().parents[2]
SHIPPED = PROJECT / "workflow" / "instruments"

# Lowest and highest total as the authors or manuals state them.
PUBLISHED_RANGES = {
    ("wai_36", "total"): (36, 252),
    ("wai_36", "task"): (12, 84),
    ("wai_s", "total"): (12, 84),
    ("wai_s", "bond"): (4, 28),
    ("wai_sr", "total"): (1, 5),
    ("haq_2", "total"): (19, 114),
    ("srs", "total"): (0, 40),
    ("ors", "total"): (0, 40),
    ("oq_45_2", "total"): (0, 180),
    ("oq_45_2", "sd"): (0, 100),
    ("oq_45_2", "ir"): (0, 44),
    ("oq_45_2", "sr"): (0, 36),
    ("bdi_ii", "total"): (0, 63),
    ("phq_9", "total"): (0, 27),
    ("gad_7", "total"): (0, 21),
    ("core_om", "total"): (0, 40),
    ("core_10", "total"): (0, 40),
    ("scl_90_r", "gsi"): (0, 4),
    ("scl_90_r", "pst"): (0, 90),
    ("care", "total"): (10, 50),
    ("blri_empathy16", "total"): (-48, 48),
    ("crf_s", "expertness"): (4, 28),
}
ITEMS_PER_SCALE = {
    "wai_36": {"task": 12, "bond": 12, "goal": 12},
    "wai_s": {"task": 4, "bond": 4, "goal": 4},
    "wai_sr": {"task": 4, "bond": 4, "goal": 4},
    "scl_90_r": {"som": 12, "o_c": 10, "i_s": 9, "dep": 13, "anx": 10, "hos": 6, "phob": 7, "par": 6, "psy": 10},
    "oq_45_2": {"sd": 25, "ir": 11, "sr": 9},
    "core_om": {"wellbeing": 4, "problems": 12, "functioning": 12, "risk": 6},
    "iip_64": dict.fromkeys(("pa", "bc", "de", "fg", "hi", "jk", "lm", "no"), 8),
    "iip_32_horowitz": dict.fromkeys(("pa", "bc", "de", "fg", "hi", "jk", "lm", "no"), 4),
    "blri_os64": dict.fromkeys(("regard", "empathy", "unconditionality", "congruence"), 16),
    "calpas_p": dict.fromkeys(
        ("patient_commitment", "patient_working_capacity", "therapist_understanding", "working_strategy_consensus"), 6
    ),
}
GOOD = """\
key: mini
name: Mini
construct: alliance
forms: {client: Mini}
n_items: 4
response: {min: 1, max: 5}
reverse: [2]
scales:
  first: {items: [1, 2]}
  second: {items: [3, 4]}
total: {of: [first, second]}
certainty: high
"""


@pytest.fixture(scope="module")
def registry() -> dict[str, Instrument]:
    return load_registry([SHIPPED])


def folder_with(tmp_path: Path, name: str = "own", **files: str) -> Path:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    for key, text in files.items():
        (folder / f"{key}.yaml").write_text(text, encoding="utf-8")
    return folder


def faults_of(*folders: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_registry(folders)
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(("key", "scale"), sorted(PUBLISHED_RANGES))
def test_possible_ranges_are_the_published_ones(registry: dict[str, Instrument], key: str, scale: str) -> None:
    assert registry[key].possible_range(scale, "headline") == PUBLISHED_RANGES[key, scale]


@pytest.mark.parametrize("key", sorted(ITEMS_PER_SCALE))
def test_scales_have_the_published_numbers_of_items_without_overlap(registry: dict[str, Instrument], key: str) -> None:
    scales = {name: registry[key].scale_items(name) for name in ITEMS_PER_SCALE[key]}
    assert {name: len(items) for name, items in scales.items()} == ITEMS_PER_SCALE[key]
    assert len({item for items in scales.values() for item in items}) == sum(ITEMS_PER_SCALE[key].values())


def test_every_item_of_a_scored_instrument_enters_a_scale(registry: dict[str, Instrument]) -> None:
    for key, instrument in registry.items():
        if instrument.scored_from_items:
            used = {item for name in instrument.composites for item in instrument.scale_items(name)}
            assert used == set(range(1, instrument.n_items + 1)), key


def test_all_five_families_of_the_review_can_be_used(registry: dict[str, Instrument]) -> None:
    for key in ("calpas_p", "caltras", "haq_1", "haq_2", "ha_cs", "ha_r", "tas_marziali", "vtas", "vpps", "wai_36"):
        assert registry[key].scale_names, key
        assert registry[key].construct in ("alliance", "process"), key


def test_uncertain_maps_are_off_until_somebody_verifies_them(tmp_path: Path, registry: dict[str, Instrument]) -> None:
    uncertain = [key for key, instrument in registry.items() if instrument.certainty != "high"]
    assert {"calpas_p", "haq_1", "ha_r", "blri_os64", "crf_s"} <= set(uncertain)
    assert not any(registry[key].scored_from_items for key in uncertain)
    own = folder_with(tmp_path, calpas_p='verified_by: "A. Checker, manual of 1994"\n')
    assert load_registry([SHIPPED, own])["calpas_p"].scored_from_items
    structure = folder_with(tmp_path, "structure", vtas='verified_by: "A. Checker"\n')
    assert not load_registry([SHIPPED, structure])["vtas"].scored_from_items


def test_task_and_goal_of_the_versions_of_the_wai_are_different_variables(registry: dict[str, Instrument]) -> None:
    long, short, revised = registry["wai_36"], registry["wai_s"], registry["wai_sr"]
    for scale in ("task", "goal"):
        assert long.facet(scale) == short.facet(scale) != revised.facet(scale)
    assert long.facet("bond") == short.facet("bond") == revised.facet("bond")
    assert registry["core_10"].facet("total") != registry["phq_9"].facet("total")


@pytest.mark.parametrize(("child", "keeps"), [("wai_s", {"task", "bond", "goal"}), ("wai_sr", {"bond"})])
def test_derived_items_keep_their_scale_except_where_stated(registry: dict[str, Instrument], child: str, keeps: set[str]) -> None:
    instrument = registry[child]
    parent_items = instrument.derive_from.parent_items
    parent = registry["wai_36"]
    kept = {
        scale
        for scale in ("task", "bond", "goal")
        if {parent_items[item] for item in instrument.scale_items(scale)} <= set(parent.scale_items(scale))
    }
    assert kept == keeps


def test_only_the_revised_form_is_derived_with_a_caution(registry: dict[str, Instrument]) -> None:
    assert registry["wai_sr"].derive_from.caution
    assert not registry["wai_s"].derive_from.caution


def test_own_folder_overrides_single_keys_and_adds_instruments(tmp_path: Path) -> None:
    own = folder_with(tmp_path, wai_36="missing: {max_missing: 3}\nscore: {method: mean}\n", mini=GOOD)
    registry = load_registry([SHIPPED, own])
    assert registry["wai_36"].missing.max_missing == 3
    assert registry["wai_36"].missing.status == "convention"
    assert registry["wai_36"].score.method == "mean"
    assert len(registry["wai_36"].reverse) == 14
    assert registry["mini"].scale_items("total") == [1, 2, 3, 4]


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    own = folder_with(tmp_path, mini=GOOD)
    before = load_registry([SHIPPED, own])
    before.pop("wai_36")
    assert "wai_36" in load_registry([SHIPPED, own])
    (own / "mini.yaml").write_text(GOOD.replace("name: Mini", "name: Other"), encoding="utf-8")
    assert (before["mini"].name, load_registry([SHIPPED, own])["mini"].name) == ("Mini", "Other")
    (own / "mini.yaml").unlink()
    assert "mini" not in load_registry([SHIPPED, own])


def test_null_removes_a_key_in_an_own_file(tmp_path: Path) -> None:
    own = folder_with(tmp_path, wai_sr="derive_from: null\n")
    assert load_registry([SHIPPED, own])["wai_sr"].derive_from is None


def test_listed_files_are_read_without_their_parents(tmp_path: Path) -> None:
    own = folder_with(tmp_path, wai_s="score: {method: mean}\n")
    registry = load_files([SHIPPED / "wai_s.yaml", own / "wai_s.yaml"])
    assert list(registry) == ["wai_s"]
    assert registry["wai_s"].score.method == "mean"


def test_faults_of_several_files_are_found_in_one_pass(tmp_path: Path) -> None:
    folder = folder_with(
        tmp_path,
        overlap=GOOD.replace("mini", "overlap").replace("[3, 4]", "[2, 3, 4]"),
        reverse=GOOD.replace("mini", "reverse").replace("reverse: [2]", "reverse: [9]"),
        unknown=GOOD.replace("mini", "unknown").replace("reverse:", "revers:"),
        range=GOOD.replace("mini", "range").replace("min: 1, max: 5", "min: 5, max: 1"),
        parent=GOOD.replace("mini", "parent") + "derive_from: {instrument: rangy, items: {1: 1, 2: 2, 3: 3, 4: 4}}\n",
        part=GOOD.replace("mini", "part").replace("of: [first, second]", "of: [first, secund]"),
        text=GOOD.replace("mini", "text").replace("n_items: 4", "n_items: four"),
        named=GOOD,
        twice=GOOD.replace("mini", "twice") + "certainty: low\n",
        empty="",
    )
    text = "\n".join(faults_of(folder))
    assert "overlap.yaml, line 10: scales.second.items: item 2 is also in scale 'first'" in text
    assert "reverse.yaml, line 7: reverse: item 9 does not exist; items are 1 to 4" in text
    assert "unknown key; did you mean 'reverse'?" in text
    assert "range.yaml, line 6: response.min: 5 is not below max (1)" in text
    assert "'rangy' is not a known instrument; did you mean 'range'?" in text
    assert "'secund' is not a scale of this instrument; did you mean 'second'?" in text
    assert "text.yaml, line 5: n_items" in text
    assert "is 'mini', but the file is named 'named.yaml'" in text
    assert "this key stands twice (lines 12 and 13)" in text
    assert "empty.yaml: must hold keys with values" in text


def test_a_wrong_type_does_not_hide_faults_of_the_map(tmp_path: Path) -> None:
    text = GOOD.replace("name: Mini", "name: 5").replace("reverse: [2]", "reverse: [2, 2]").replace("[1, 2]", "[1, 2, 7]")
    found = "\n".join(faults_of(folder_with(tmp_path, mini=text)))
    assert "name: 5 does not fit" in found
    assert "item 2 stands twice" in found
    assert "item 7 does not exist" in found


def test_reversed_items_outside_every_scale_are_a_fault(tmp_path: Path) -> None:
    text = GOOD.replace("n_items: 4", "n_items: 5").replace("reverse: [2]", "reverse: [5]")
    assert "item 5 is in no scale" in "\n".join(faults_of(folder_with(tmp_path, mini=text)))


def test_shared_items_are_allowed_where_they_are_meant(tmp_path: Path) -> None:
    text = GOOD.replace("[3, 4]", "[2, 3, 4]") + "shared_items: true\n"
    assert load_registry([folder_with(tmp_path, mini=text)])["mini"].scale_items("second") == [2, 3, 4]


def test_keys_that_differ_in_case_only_are_a_fault(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, mini=GOOD, Mini=GOOD.replace("key: mini", "key: Mini"))
    if len(list(folder.iterdir())) < 2:
        pytest.skip("needs a file system that tells upper from lower case; set TMPDIR to a folder on one")
    assert "upper and lower case only" in "\n".join(faults_of(folder))
    again = folder_with(tmp_path, "again", Mini="name: other\n")
    assert "overrides 'mini'?" in "\n".join(faults_of(folder_with(tmp_path, "plain", mini=GOOD), again))


def test_scale_names_that_differ_in_case_only_are_a_fault(tmp_path: Path) -> None:
    text = GOOD.replace("  second:", "  First:").replace("second", "First")
    assert "in upper and lower case only" in "\n".join(faults_of(folder_with(tmp_path, mini=text)))


def test_a_derived_item_must_be_reversed_like_its_parent(tmp_path: Path) -> None:
    own = folder_with(tmp_path, wai_s="reverse: [4]\n")
    text = "\n".join(faults_of(SHIPPED, own))
    assert "item 10 is not reversed here, but its parent item 27 is the opposite in 'wai_36'" in text


def test_a_missing_folder_is_named_with_the_key_to_change(tmp_path: Path) -> None:
    assert "study.instruments_dir" in faults_of(tmp_path / "nowhere")[0]


def test_a_range_declared_by_the_site_changes_the_possible_scores(registry: dict[str, Instrument]) -> None:
    assert registry["wai_sr"].response_from_site
    assert registry["wai_sr"].possible_range("total", "headline", Response(min=1, max=7)) == (1, 7)
    assert registry["wai_sr"].possible_range("task", "sum", Response(min=1, max=7)) == (4, 28)
    assert registry["empathy_scale"].possible_range("total", "mean") is None


def test_the_dictionary_says_why_an_instrument_is_off_and_how_to_switch_it_on(registry: dict[str, Instrument]) -> None:
    entries = {entry["key"]: entry for entry in dictionary_entries(registry, used=["wai_sr"])}
    assert next(iter(entries)) == "wai_sr"
    assert entries.keys() == registry.keys()
    assert "not certain (low)" in entries["calpas_p"]["why_off"]
    assert "verified_by" in entries["calpas_p"]["switch_on"]
    assert "scale scores" in entries["vtas"]["why_off"]
    assert entries["wai_36"]["why_off"] == ""
    task = next(scale for scale in entries["wai_36"]["scales"] if scale["name"] == "task")
    assert task["items"] == [2, 4, 7, 11, 13, 15, 16, 18, 24, 31, 33, 35]
    assert task["turned"] == [7, 11, 15, 31, 33]
    assert task["range"] == (12, 84)
    assert task["allowed_missing"] == 2
    assert entries["oq_45_2"]["missing_status"] == "published"
    assert "rounded to a whole number" in entries["oq_45_2"]["missing_rule"]
    assert entries["core_om"]["unit"] == "mean x 10"


# Which instruments the review names for each construct (Horvath & Luborsky, 1993, lines 438-443); CALTRAS stands for both versions.
REVIEW = {
    "client_contribution": {"calpas_p", "tas_marziali"},
    "therapist_contribution": {"calpas_p", "tas_marziali"},
    "goals": {"caltras", "calpas_p", "wai_36", "wai_s", "haq_1", "ha_r", "ha_cs"},
    "capacity": {"haq_1", "ha_r", "ha_cs", "vtas", "caltras", "calpas_p"},
    "tasks": {"caltras", "calpas_p", "wai_36", "wai_s"},
    "participation": {"haq_1", "ha_r", "ha_cs", "caltras", "calpas_p", "vtas"},
}


def test_the_content_matrix_of_instruments_is_that_of_the_review():
    matrix = content_matrix(load_registry([SHIPPED]))
    whole = matrix[matrix["scale"].eq("")]
    named = whole.groupby("construct")["instrument"].agg(set).to_dict()
    families = {"wai_36", "wai_s", "haq_1", "ha_r", "ha_cs", "calpas_p", "caltras", "vtas", "vpps", "tas_marziali"}
    assert named == {**REVIEW, "attachment": families, "collaboration": families}
    assert set(matrix["construct"]) == set(SHARED_CONSTRUCTS)
    assert set(matrix.loc[matrix["core"], "construct"]) == {"attachment", "collaboration"}
    assert matrix["source"].ne("").all()


def test_homogeneous_and_blended_instruments_are_those_of_the_review():
    approach = {key: one.approach for key, one in load_registry([SHIPPED]).items() if one.approach}
    assert {key for key, kind in approach.items() if kind == "homogeneous"} == {"wai_36", "wai_s", "wai_sr", "haq_1", "ha_r", "ha_cs"}
    assert {key for key, kind in approach.items() if kind == "blended"} == {"calpas_p", "caltras", "vtas", "vpps", "tas_marziali"}


def test_parallel_scales_share_a_construct_or_a_facet():
    registry = load_registry([SHIPPED])

    def judged(first, scale1, second, scale2):
        return parallel(registry[first], scale1, registry[second], scale2)

    assert judged("wai_36", "goal", "calpas_p", "working_strategy_consensus") == "yes"
    assert judged("wai_36", "bond", "calpas_p", "working_strategy_consensus") == "no"
    assert judged("wai_36", "bond", "haq_2", "positive") == "unknown"
    assert judged("wai_36", "total", "haq_2", "total") == "yes"
    assert judged("tas_marziali", "client_negative", "vtas", "patient_contribution") == "yes"
    assert judged("tas_marziali", "client_negative", "vtas", "therapist_contribution") == "no"
    assert judged("haq_1", "type_2", "arm_28", "partnership") == "yes"
    assert parallel(None, "bond", registry["wai_36"], "bond") == "unknown"
    assert [registry["tas_marziali"].higher_is_worse(scale) for scale in ("client_positive", "client_negative", "total")] == [
        False,
        True,
        False,
    ]
    assert registry["core_10"].higher_is_worse("total")
