import pytest

from hearth.activator import errors
from hearth.activator.errors import ApiError


@pytest.mark.parametrize(("seconds", "said"), [(0.0, b"1"), (1.2, b"2"), (60.0, b"60"), (60.1, b"60"), (1e12, b"60")])
def test_no_client_is_told_to_wait_for_less_than_a_second_or_more_than_a_minute(seconds: float, said: bytes) -> None:
    """openai's package for Python, from 3.0 on, fails at once where it is told to wait for more than two minutes."""
    every: list[ApiError] = [
        errors.queue_full("ai/qwen", 5, seconds),
        errors.activation_timed_out("ai/qwen", 600, seconds, "it is still starting"),
        errors.starting("ai/qwen", seconds),
    ]
    for error in every:
        assert dict(error.headers)[b"retry-after"] == said


def test_who_need_not_ask_again_is_not_told_when() -> None:
    assert b"retry-after" not in dict(errors.no_model().headers)
