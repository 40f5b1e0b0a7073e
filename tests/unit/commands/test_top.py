import asyncio
import io
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import replace

import pytest
from rich.console import Console

from hearth.api.key import ServiceKey
from hearth.commands.top import Row, fitting, row, sparkline, table, watch
from hearth.kube.errors import Unanswered


def test_a_row_of_a_service_and_of_one_that_nobody_has_looked_at() -> None:
    item = {
        "metadata": {"namespace": "ai", "name": "qwen"},
        "spec": {"scaling": {"min": 1, "max": 4}},
        "status": {
            "phase": "Loading",
            "replicas": 2,
            "readyReplicas": 1,
            "queueDepth": 7,
            "coldStart": {"phase": "loading", "eta": 12},
        },
    }
    assert row(item) == Row("ai", "qwen", "Loading", 2, 1, 1, 4, 7, "loading", 12)
    assert row({"metadata": item["metadata"]}) == Row("ai", "qwen", "Pending", 0, 0, 0, 1, None, None, None)
    looping = {"type": "Ready", "status": "False", "reason": "EngineCrashing"}
    item["status"] = {"phase": "Degraded", "coldStart": {"phase": "scheduling"}, "conditions": [looping]}
    assert row(item).reason == "EngineCrashing"
    looping["status"] = "True"
    assert row(item).reason is None


def test_sparklines() -> None:
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([0, 4, 8]) == "▁▄█"


def test_the_table_has_everything_in_words() -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    history: defaultdict[ServiceKey, deque[int]] = defaultdict(lambda: deque([0, 3]))
    console.print(table([Row("ai", "qwen", "Loading", 2, 1, 0, 4, 3, "loading", 12)], history, 200))
    text = console.export_text()
    for words in ("ai", "qwen", "Loading", "1/2", "0-4", "loading, 12 s to go", "▁▇"):
        assert words in text


LOOPING = Row("ai", "qwen", "Degraded", 1, 0, 0, 4, 3, "scheduling", None, "EngineCrashing")


def drawn(width: int, *found: Row) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table(list(found), defaultdict(lambda: deque([0, 3])), width))
    return console.export_text()


def test_what_others_wrote_can_not_steer_the_terminal() -> None:
    text = drawn(200, replace(LOOPING, reason="Nice\x1b[2J\r\x9b1A"))
    assert "Nice\\x1b[2J\\x0d\\x9b1A" in text
    assert not set(text) & {"\x1b", "\r", "\x9b"}


def test_a_crash_loop_is_told_as_what_it_is() -> None:
    text = drawn(200, LOOPING)
    assert "EngineCrashing" in text
    assert "scheduling" not in text


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_narrow_terminal_has_fewer_columns_and_whole_words(width: int) -> None:
    long = replace(LOOPING, namespace="a-namespace-of-a-team", name="a-model-with-a-long-name-7b-instruct-awq")
    text = drawn(width, long)
    assert max(map(len, text.splitlines())) <= width
    squeezed = "".join(text.split())
    for words in ("Degraded", "0/1"):
        assert words in text
    assert "…" not in text
    if width <= 60:
        (first, *_) = text.splitlines()
        assert "WHY" not in first
        for piece in ("a-model-with", "awq"):
            assert piece in squeezed


async def test_an_api_server_that_goes_away_is_waited_for_with_what_was_seen_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hearth.commands.top.REFRESH_SECONDS", 0.0)
    console = Console(width=100, file=io.StringIO(), force_terminal=True)
    ready = [replace(LOOPING, phase="Ready", reason=None)]
    looks: Iterator[list[Row] | Unanswered] = iter([[LOOPING], Unanswered("127.0.0.1: refused"), ready])
    seen: list[str] = []

    async def look() -> list[Row]:
        seen.append(console.file.getvalue())  # type: ignore[attr-defined]
        answer = next(looks, None)
        if answer is None:
            raise asyncio.CancelledError
        if isinstance(answer, Unanswered):
            raise answer
        return answer

    with pytest.raises(asyncio.CancelledError):
        await watch(console, look)
    away = seen[2][len(seen[1]) :]
    assert "since then: 127.0.0.1: refused" in away
    assert "Degraded" in away
    assert "refused" not in seen[3][len(seen[2]) :]


async def test_one_that_is_away_from_the_start_is_an_error() -> None:
    async def look() -> list[Row]:
        raise Unanswered("127.0.0.1: refused")

    with pytest.raises(Unanswered):
        await watch(Console(file=io.StringIO()), look)


async def test_one_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hearth.commands.top.REFRESH_SECONDS", 0.0)
    monkeypatch.setattr("hearth.commands.top.SILENT_SECONDS", 0.0)
    written = asyncio.Event()

    class Screen(io.StringIO):
        def write(self, text: str) -> int:
            if "since then: the API server has not answered yet" in text:
                written.set()
            return super().write(text)

    looks = iter([[LOOPING]])

    async def look() -> list[Row]:
        if (found := next(looks, None)) is not None:
            return found
        await asyncio.Event().wait()  # it has taken the connection, and says nothing
        raise AssertionError

    watching = asyncio.ensure_future(watch(Console(width=100, file=Screen(), force_terminal=True), look))
    await asyncio.wait_for(written.wait(), 30)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


def test_what_is_not_well_is_shown_first_where_not_all_fit() -> None:
    well = [replace(LOOPING, name=f"well-{number}", reason=None) for number in range(4)]
    found = [*well, LOOPING, replace(LOOPING, name="z")]
    assert fitting(found, 6) == (found, "")
    assert fitting(found, 4) == ([LOOPING, found[5], well[0]], "… and 3 more, 0 of them not well")
    assert fitting(found, 2) == ([LOOPING], "… and 5 more, 1 of them not well")
    assert fitting(found, 0) == ([], "… and 6 more, 2 of them not well")
