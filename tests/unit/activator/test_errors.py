import inspect
import re

import pytest

from hearth.activator import errors
from hearth.activator.errors import ApiError
from hearth.activator.lane.tally import REASONS
from hearth.activator.metrics import UNROUTED_CODES
from hearth.http1 import connection, message


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
    assert b"retry-after" not in dict(errors.no_model("").headers)


def test_every_code_has_its_series_from_the_start() -> None:
    """Those of an answer that had begun are counted as broken answers."""
    said = re.findall(r'"(?:server|invalid_request|rate_limit)_error",\s+"(\w+)"', inspect.getsource(errors))
    for module in (message, connection):
        said += re.findall(r'Refusal\(\s*\d+,\s*"(\w+)"', inspect.getsource(module))
    assert set(said) == {*REASONS, *UNROUTED_CODES, "engine_died", "not_an_event_stream"}
