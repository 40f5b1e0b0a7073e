import pytest

from hearth.kube import errors


@pytest.mark.parametrize(
    ("status", "reason", "about", "kind"),
    [
        (400, "BadRequest", "", errors.Refused),
        (401, "Unauthorized", "", errors.Forbidden),
        (403, "Forbidden", "qwen", errors.Forbidden),
        (404, "NotFound", "qwen", errors.NotFound),
        (404, "", "", errors.UnknownApi),
        (409, "AlreadyExists", "qwen", errors.AlreadyExists),
        (409, "Conflict", "qwen", errors.Conflict),
        (410, "Expired", "", errors.Expired),
        (422, "Invalid", "qwen", errors.Refused),
        (429, "TooManyRequests", "", errors.TooManyRequests),
        (500, "InternalError", "", errors.InternalError),
        (503, "ServiceUnavailable", "", errors.Unavailable),
        (504, "Timeout", "", errors.Unavailable),
    ],
)
def test_an_answer_is_the_error_that_a_caller_can_act_on(status: int, reason: str, about: str, kind: type) -> None:
    error = errors.error_of(status, "words", reason=reason, about=about)
    assert type(error) is kind
    assert (error.status, str(error)) == (status, f"{status}: words")


def test_what_may_pass_by_itself() -> None:
    assert issubclass(errors.AlreadyExists, errors.PASSING)
    assert not issubclass(errors.Refused, errors.PASSING)
    assert not issubclass(errors.Forbidden, errors.PASSING)
