"""The text of a Secret's entry with API keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.api.keys import MAX_KEYS, MAX_PROBLEMS, NO_LIMITS, ApiKey, KeyLimits, read_keys

KEY = "sk-0123456789"


def one(line: str) -> ApiKey:
    read = read_keys(line.encode())
    assert read.problems == ()
    (key,) = read.keys
    return key


@pytest.mark.parametrize(
    ("line", "name", "secret"),
    [
        (KEY, "", KEY),
        (f"alice={KEY}", "alice", KEY),
        (f"  alice={KEY}\r", "alice", KEY),
        (f"a.l-i_c@e={KEY}", "a.l-i_c@e", KEY),
        (f"\ufeff{KEY}", "", KEY),
        ("c2VjcmV0a2V5cw==", "", "c2VjcmV0a2V5cw=="),  # Base64 ends with its padding
        ("alice=c2VjcmV0a2V5cw==", "alice", "c2VjcmV0a2V5cw=="),
    ],
)
def test_a_line_is_a_key_maybe_with_a_name(line: str, name: str, secret: str) -> None:
    key = one(line)
    assert (key.name, key.secret, key.limits) == (name, secret.encode(), NO_LIMITS)


def test_limits_stand_behind_the_key() -> None:
    key = one(f"ci={KEY} rpm=60 tpm=100000\tmax_parallel_requests=4 models=qwen,ai/llama cold_starts=2")
    assert key.limits == KeyLimits(60, 100_000, 4, 2, frozenset(("qwen", "ai/llama")))


def test_empty_lines_and_comments_are_no_keys() -> None:
    read = read_keys(f"# whose\n\n   \n{KEY}\n#{KEY}-2\n".encode())
    assert [key.secret for key in read.keys] == [KEY.encode()]
    assert read.problems == ()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("short=1234567", "a key of 7 bytes"),
        (f"Bearer {KEY}", "the word Bearer"),  # envoyproxy/gateway#7706: written so, it opened nothing, without a word
        (f"alice=bearer {KEY}", "the word Bearer"),
        (f'"{KEY}"', "in quotes"),
        (f"alice='{KEY}'", "in quotes"),
        ("x" * 4097, "a key of 4097 bytes"),
        ("schlüssel-für-alle", "printable ASCII"),
        (f"-={KEY}", "a name that is not"),
        (f"{KEY} rpm=0", "rpm: expected a whole number"),
        (f"{KEY} rpm=-1", "rpm: expected a whole number"),
        (f"{KEY} rpm=1e3", "rpm: expected a whole number"),
        (f"{KEY} rpm=9999999999", "rpm: expected a whole number"),
        (f"{KEY} rpm=1 rpm=2", "each once"),
        (f"{KEY} rpm", "behind the key"),
        (f"{KEY} rps=1", "behind the key"),
        (f"{KEY} models=", "models: expected"),
        (f"{KEY} models=a,,b", "models: expected"),
        (f"{KEY} models=*", "models: expected"),
    ],
)
def test_what_cannot_be_read_opens_nothing_and_is_told_without_a_word_of_it(line: str, says: str) -> None:
    read = read_keys(f"good={KEY}-good\n{line}".encode())
    assert [key.name for key in read.keys] == ["good"]
    (problem,) = read.problems
    assert problem.startswith("line 2: ")
    assert says in problem
    assert KEY not in problem


def test_a_name_or_a_key_stands_once() -> None:
    read = read_keys(f"a={KEY}-1\na={KEY}-2\nb={KEY}-1\n".encode())
    assert [(key.name, key.secret) for key in read.keys] == [("a", f"{KEY}-1".encode())]
    assert read.problems == ("line 2: a name that an earlier line has", "line 3: a key that an earlier line has")


def test_there_are_not_more_than_may_be() -> None:
    read = read_keys("\n".join(f"{KEY}-{number}" for number in range(MAX_KEYS + 5)).encode())
    assert len(read.keys) == MAX_KEYS
    assert read.problems == (f"line {MAX_KEYS + 1}: more than {MAX_KEYS} keys",)


def test_no_text_of_a_key_has_the_key() -> None:
    assert KEY not in repr(read_keys(f"alice={KEY} rpm=1".encode()))


@given(st.binary(max_size=300))
def test_any_bytes_can_be_read(entry: bytes) -> None:
    read = read_keys(entry)
    lines = len(entry.splitlines())
    assert len(read.keys) + len(read.problems) <= lines


def test_rubbish_is_not_read_to_its_end() -> None:
    """A Secret holds a mebibyte, and whoever may write one may write anything."""
    read = read_keys(b"key-of-alice\n" + b"x\n" * 500_000 + b"key-of-bob-1\n")
    assert [key.secret for key in read.keys] == [b"key-of-alice"]
    assert len(read.problems) == MAX_PROBLEMS + 1
    assert "not read" in read.problems[-1]
