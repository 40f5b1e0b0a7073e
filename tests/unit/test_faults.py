import asyncio
import logging
import math

import pytest
from prometheus_client import generate_latest

from hearth.backoff import backoff
from hearth.faults import contained, counted
from hearth.metrics import role_registry


def test_what_is_contained_is_counted_and_logged_with_what_it_was_about(caplog: pytest.LogCaptureFixture) -> None:
    before = counted()
    with contained("object", object="ai/qwen") as told:
        raise RecursionError("too deep")
    assert told.failed
    assert counted() == {**before, "object": before["object"] + 1}
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.__dict__["hearth"] == {"where": "object", "object": "ai/qwen"}
    assert record.exc_info is not None
    with contained("object") as fine:
        pass
    assert not fine.failed


async def test_cancellation_passes_through() -> None:
    async def work() -> None:
        with contained("timer"):
            await asyncio.Event().wait()

    before = counted()
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counted() == before


def test_every_role_tells_them_from_zero_on() -> None:
    told = generate_latest(role_registry("scaler")).decode()
    for where in counted():
        assert f'hearth_faults_total{{role="scaler",where="{where}"}}' in told


@pytest.mark.parametrize("failures", [0, 1, 2, 10, 1024, 10**9])
def test_a_back_off_is_a_number_after_any_number_of_failures(failures: int) -> None:
    seconds = backoff(failures, 0.2, 60.0)
    assert math.isfinite(seconds)
    assert 0.1 <= seconds <= 60.0
    if failures >= 10:
        assert seconds >= 30.0


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0.2), (1, 0.2), (2, 0.4), (3, 0.8), (9, 51.2), (10, 60.0)])
def test_a_back_off_doubles_up_to_its_limit_and_is_jittered_down_by_half(
    failures: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    assert backoff(failures, 0.2, 60.0) == pytest.approx(seconds)
    monkeypatch.setattr("random.uniform", lambda low, high: low)
    assert backoff(failures, 0.2, 60.0) == pytest.approx(seconds / 2)
