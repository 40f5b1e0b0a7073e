import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.http1.chunked import chunk, chunks_data, size_of_chunks

DATA = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5)


@given(DATA)
def test_whole_chunks_have_the_size_of_their_data(parts: list[bytes]) -> None:
    raw = b"".join(map(chunk, parts))
    assert size_of_chunks(raw) == sum(map(len, parts))
    assert chunks_data(raw) == b"".join(parts)


@given(DATA, st.data())
def test_what_is_not_whole_has_none(parts: list[bytes], data: st.DataObject) -> None:
    raw = b"".join(map(chunk, parts))
    ends = {0, *itertools.accumulate(len(chunk(part)) for part in parts)}
    cut = data.draw(st.integers(0, len(raw)).filter(lambda at: at not in ends))
    assert size_of_chunks(raw[:cut]) == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"0\r\n\r\n",
        b"1\r\na\r\n0\r\n\r\n",
        b"3;a=b\r\nabc\r\n",
        b"A\r\n0123456789\r\n",
        b"0x1\r\na\r\n",
        b" 1\r\na\r\n",
        b"-1\r\n\r\n",
        b"1\na\n",
        b"2\r\na\r\n",
        b"1\r\nab\r\n",
        b"00001\r\na\r\n",
        b"1\r",
        b"fff",
    ],
)
def test_what_is_written_otherwise_is_the_parsers(raw: bytes) -> None:
    assert size_of_chunks(raw) == 0
