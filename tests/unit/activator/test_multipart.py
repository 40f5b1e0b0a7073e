from hypothesis import given
from hypothesis import strategies as st

from hearth.activator.multipart import form_fields

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
    found = form_fields(whole, TYPE, WANTED)
    assert {name: field.value for name, field in found.items()} == {b"model": b"whisper"}
    assert whole[found[b"model"].start : found[b"model"].end] == b"whisper"


def test_a_file_is_no_field_and_the_last_of_a_name_counts() -> None:
    assert form_fields(body((b'name="model"; filename="m"', b"x")), TYPE, WANTED) == {}
    found = form_fields(body((b'name="model"', b"one"), (b'name="model"', b"two")), TYPE, WANTED)
    assert found[b"model"].value == b"two"


def test_other_bodies_have_no_fields() -> None:
    assert form_fields(b'{"model": "x"}', b"application/json", WANTED) == {}
    assert form_fields(body((b'name="model"', b"x")), b"multipart/form-data", WANTED) == {}
    assert form_fields(b"no boundary at all", TYPE, WANTED) == {}


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_no_body_breaks_it(garbage: bytes, content_type: bytes) -> None:
    form_fields(garbage, TYPE, WANTED)
    form_fields(garbage, content_type, WANTED)


@given(st.binary(max_size=40).filter(lambda value: b"\r" not in value))
def test_a_value_is_found_whatever_it_is(value: bytes) -> None:
    whole = body((b'name="file"; filename="x"', b"\r\n\r\n--"), (b'name="model"', value))
    found = form_fields(whole, TYPE, WANTED)
    assert (found[b"model"].value if value else b"") == value
