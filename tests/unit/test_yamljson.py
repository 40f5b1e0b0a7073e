"""YAML beside what kubectl's reader, sigs.k8s.io/yaml 1.6.0, makes of the same texts: recorded from it."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hearth import yamljson

# fmt: off
READ: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    "1:30": "1:30", "1:30:00": "1:30:00", "12:30:45.6": "12:30:45.6", "190:20:30": "190:20:30",
    "2026-01-01": "2026-01-01", "2026-01-01T00:00:00Z": "2026-01-01T00:00:00Z", "=": "=", "<<": "<<",
    "010": 8, "0o10": 8, "0O10": 8, "+010": 8, "-010": -8, "08": 8, "0o8": "0o8", "0_1": 1, "0": 0, "-0": 0,
    "0x1F": 31, "0X1f": 31, "-0x1F": -31, "0x": "0x", "0xg": "0xg", "0b11": 3, "0B1": 1, "0b2": "0b2",
    "1_000": 1000, "685_230": 685230, "1__0": 10, "1_": 1, "0_": 0, "_1": "_1", "_": "_", "+1": 1, "-5": -5,
    "1e3": 1000, "1E3": 1000, "1e+3": 1000, "-1e3": -1000, "5.0e10": 50000000000, "1.0": 1, "1.": 1, "0.": 0,
    "1.5": 1.5, ".5": 0.5, "-.5": -0.5, "+.5": 0.5, ".5e3": 500, "09.5": 9.5, "1_0.5": 10.5, "1.5_0": 1.5,
    "0.1": 0.1, "1e-7": 1e-7, "0.000001": 1e-6, "-0.0": 0, "6.8523015e+5": 685230.15, "1e21": 1e21,
    "9223372036854775807": 2**63 - 1, "-9223372036854775808": -(2**63), "18446744073709551615": 2**64 - 1,
    "18446744073709551616": 18446744073709552000, "-9223372036854775809": -9223372036854776000,
    "123456789012345678901234567890": 1.2345678901234568e29, "100000000000000000000000.0": 1e23,
    "1e400": "1e400", "1.5.2": "1.5.2", "1e": "1e", "e1": "e1", "infinity": "infinity", "NaN": "NaN", "1,5": "1,5",
    "'1'": "1", '"y"': "y", "!!str 1": "1", "!!int '1'": 1, "!!float 1": 1, "!!bool yes": True, "!!null ''": None,
    "!!timestamp 2026-01-01": "2026-01-01", "|\n  x\n  y\n": "x\ny\n", ">\n  x\n  y\n": "x y\n",
    "{1: a}": {"1": "a"}, "{true: a}": {"true": "a"}, "{y: a}": {"true": "a"}, "{1.5: a}": {"1.5": "a"},
    "[&x {b: 1}, *x]": [{"b": 1}, {"b": 1}], "[&x {b: 1}, {<<: *x, c: 2}]": [{"b": 1}, {"b": 1, "c": 2}],
}
# fmt: on
REFUSED = {
    ".inf": "JSON has no such number",
    "-.Inf": "JSON has no such number",
    ".nan": "JSON has no such number",
    "{~: a}": "found the key None; expected text",
    "{b: 1, b: 2}": "found the key 'b' twice",
    "{1: a, '1': b}": "found the key '1' twice",
    '"\\ud83d\\ude00"': "found half of a character",
    "!own b": "could not determine a constructor",
    "!!set {x}": "could not determine a constructor",
    "!!binary aGk=": "could not determine a constructor",
}


@pytest.mark.parametrize("text", READ)
def test_yaml_is_read_as_kubectl_reads_it(text: str) -> None:
    read = yamljson.load(f"a: {text}")["a"]
    assert json.dumps(read) == json.dumps(READ[text])


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_json_is_refused_in_words(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match=REFUSED[text]):
        yamljson.load(f"a: {text}")


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "stand for more than 400000 values"),
        ("a: &a {b: *a}", "an alias of what it is in"),
        ("a: &a\n- [*a]", "an alias of what it is in"),
        ("? &a [*a]\n: x", "an alias of what it is in"),
    ],
)
def test_aliases_are_bounded(text: str, said: str) -> None:
    with pytest.raises(yaml.YAMLError, match=said):
        yamljson.load(text)


def test_aliases_stand_for_what_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert yamljson.load("a: &a [1, {b: 2}]\nc: [*a, *a]") == {"a": [1, {"b": 2}], "c": [[1, {"b": 2}]] * 2}
    monkeypatch.setattr(yamljson, "_MOST_NODES", 100)
    assert len(yamljson.load(f"[{'0,' * 500}]")) == 500, "what is written out may be long"


def test_documents_are_read_one_by_one() -> None:
    assert list(yamljson.load_all("a: y\n---\n---\nb: 1e3\n")) == [{"a": True}, None, {"b": 1000}]


@pytest.mark.parametrize(
    ("text", "written"),
    [("y", "'y'"), ("1e3", "'1e3'"), ("0o17", "'0o17'"), (".inf", "'.inf'"), ("-.5", "'-.5'"), ("a", "a"), ("1", "'1'")]
    + [("\x85", '"\\N"'), ("1:30", "'1:30'"), ("--x=y", "--x=y")],
)
def test_text_is_quoted_where_kubectl_would_read_something_else(text: str, written: str) -> None:
    assert yamljson.dump_all([{"a": text}]) == f"a: {written}\n"


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text(alphabet="0123456789.eE+-_xob:nyNY", max_size=8))
def test_what_is_written_is_read_as_the_same(text: str) -> None:
    document = {"a": text, "b": [text], text: 1}
    assert yamljson.load(yamljson.dump_all([document])) == document
