import json

import pytest

from hearth.activator.errors import error_document


def test_openais_is_passed_on_on_one_line() -> None:
    assert error_document(b'{"error": {\r"message": "no"}}') == b'{"error": { "message": "no"}}'


def test_sglangs_gets_the_key_by_which_sdks_know_an_error() -> None:
    made = error_document(
        b'{"object": "error", "message": "too long", "type": "BadRequestError", "param": null, "code": 400}'
    )
    assert made is not None
    assert json.loads(made) == {"error": {"message": "too long", "type": "BadRequestError", "param": None, "code": 400}}


@pytest.mark.parametrize(
    "body",
    [b"", b"no", b"[]", b'{"message": "error"}', b'{"detail": "error"}', b'{"error": {"message": "cut', b"[" * 100_000],
)
def test_what_is_no_error_is_none(body: bytes) -> None:
    assert error_document(body) is None
