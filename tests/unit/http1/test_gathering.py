from hypothesis import given
from hypothesis import strategies as st

from hearth.http1.gathering import Gathering


@given(st.lists(st.one_of(st.binary(max_size=8), st.binary(min_size=4000, max_size=5000)), max_size=12))
def test_a_body_is_its_parts_in_their_order(parts: list[bytes]) -> None:
    body = Gathering()
    for part in parts:
        body.add(part)
    assert body.size == sum(map(len, parts))
    assert body.whole() == b"".join(parts)
    assert (body.size, body.whole()) == (0, b"")


def test_a_body_of_one_part_is_that_part() -> None:
    part = b"x" * 10
    body = Gathering()
    body.add(part)
    assert body.whole() is part


def test_what_is_dropped_is_in_no_body() -> None:
    body = Gathering()
    for part in (b"a", b"c" * 5000, b"b"):
        body.add(part)
    body.clear()
    body.add(b"d")
    assert body.whole() == b"d"
