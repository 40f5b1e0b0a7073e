from hypothesis import given
from hypothesis import strategies as st

from hearth.activator.multipart import read_form

WANTED = frozenset((b"model", b"stream"))
TYPE = b"multipart/form-data; boundary=XX"


def body(*parts: tuple[bytes, bytes]) -> bytes:
    """Parts as (content-disposition's parameters, value)."""
    lines = b"".join(
        b"--XX\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (words, value) for words, value in parts
    )
    return lines + b"--XX--\r\n"


def test_wanted_fields_and_where_they_stand() -> None:
    whole = body((b'name="file"; filename="a.wav"', b"RIFF\r\n--X"), (b'name="model"', b"whisper"), (b'name="n"', b"1"))
    found = read_form(whole, TYPE, WANTED).fields
    assert {name: field.value for name, field in found.items()} == {b"model": b"whisper"}
    assert whole[found[b"model"].start : found[b"model"].end] == b"whisper"


def test_a_file_is_no_field_and_the_last_of_a_name_counts() -> None:
    assert read_form(body((b'name="model"; filename="m"', b"x")), TYPE, WANTED).fields == {}
    found = read_form(body((b'name="model"', b"one"), (b'name="model"', b"two")), TYPE, WANTED).fields
    assert found[b"model"].value == b"two"


def test_other_bodies_have_no_fields() -> None:
    assert read_form(b'{"model": "x"}', b"application/json", WANTED).fields == {}
    assert read_form(body((b'name="model"', b"x")), b"multipart/form-data", WANTED).fields == {}
    assert read_form(b"no boundary at all", TYPE, WANTED).fields == {}


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_no_body_breaks_it(garbage: bytes, content_type: bytes) -> None:
    read_form(garbage, TYPE, WANTED)
    read_form(garbage, content_type, WANTED)


@given(st.binary(max_size=40).filter(lambda value: b"\r" not in value))
def test_a_value_is_found_whatever_it_is(value: bytes) -> None:
    whole = body((b'name="file"; filename="x"', b"\r\n\r\n--"), (b'name="model"', value))
    found = read_form(whole, TYPE, WANTED).fields
    assert (found[b"model"].value if value else b"") == value
