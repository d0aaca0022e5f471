"""Configuration files are read as their authors mean them."""

import pytest
from alliance.configuration.errors import ConfigurationError
from alliance.configuration.strict_yaml import load_file, load_text


@pytest.mark.parametrize(
    "word", ["NO", "no", "on", "off", "yes", "1:30", "010", "1_000", "0x10", "0o17", "2024-01-02", "1e", ".inf", ".nan"]
)
def test_words_that_yaml_1_1_turns_into_something_else_stay_text(word):
    assert load_text(f"key: {word}", "c.yaml")[0] == {"key": word}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'12'", "12"),
    ],
)
def test_plain_numbers_booleans_and_null_are_read(text, value):
    read = load_text(f"key: {text}", "c.yaml")[0]["key"]
    assert read == value and type(read) is type(value)


def test_a_repeated_key_is_refused_with_both_lines():
    with pytest.raises(ConfigurationError) as error:
        load_text("a: 1\nb: 2\na: 3\n", "c.yaml")
    assert "lines 1 and 3" in str(error.value)


@pytest.mark.parametrize("text", ["a: !!python/object/apply:os.system [ls]", "a: !x 1", "a: &b 1", "a: &b [1]\nc: *b"])
def test_tags_anchors_and_aliases_are_refused(text):
    with pytest.raises(ConfigurationError):
        load_text(text, "c.yaml")


def test_an_alias_bomb_is_refused_without_being_expanded():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join('*' + a for _ in range(9))}]\n" for a, b in zip("abcdefgh", "bcdefghi")
    )
    with pytest.raises(ConfigurationError):
        load_text(bomb, "c.yaml")


def test_all_faults_come_at_once_with_their_lines():
    with pytest.raises(ConfigurationError) as error:
        load_text("a: !x 1\nb: 1\nb: 2\nc: &d 3\n", "c.yaml")
    assert sorted(fault.line for fault in error.value.faults) == [1, 3, 4]


def test_lines_of_keys_are_known():
    assert load_text("a:\n  b:\n    - 1\n    - c: 2\n", "c.yaml")[1][("a", "b", 1, "c")] == 4


@pytest.mark.parametrize("make", ["missing", "folder", "latin1", "tabs", "nested"])
def test_a_file_that_cannot_be_read_is_one_plain_fault(tmp_path, make):
    path = tmp_path / "config.yaml"
    if make == "folder":
        path.mkdir()
    elif make == "latin1":
        path.write_bytes("title: Zürich\n".encode("latin-1"))
    elif make == "tabs":
        path.write_text("study:\n\ttitle: x\n")
    elif make == "nested":
        path.write_text("a: " + "[" * 100 + "]" * 100)
    with pytest.raises(ConfigurationError) as error:
        load_file(path)
    (fault,) = error.value.faults
    assert fault.file == "config.yaml" and "Traceback" not in str(fault)
    assert {"missing": "exist", "folder": "folder", "latin1": "UTF-8", "tabs": "tabs", "nested": "nested"}[make] in fault.message
