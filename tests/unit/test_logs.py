import json
import logging
import os
import sys
import time

from hearth.logs import LAST_LINES_SECONDS, QUEUED_RECORDS, JsonFormatter, TextFormatter, _Writer, fields


def record(**values: object) -> logging.LogRecord:
    made = logging.LogRecord("hearth.x", logging.WARNING, __file__, 1, "it %s", ("happened",), None)
    for key, value in fields(**values).items():
        setattr(made, key, value)
    return made


def test_json_is_one_line_with_the_fields_beside_the_event() -> None:
    text = JsonFormatter().format(record(service="ai/qwen", count=3))
    assert "\n" not in text
    line = json.loads(text)
    assert (line["level"], line["logger"], line["event"]) == ("warning", "hearth.x", "it happened")
    assert (line["service"], line["count"]) == ("ai/qwen", 3)
    assert line["time"].endswith("+00:00")


def test_text_is_for_people() -> None:
    assert TextFormatter().format(record(service="ai/qwen")).endswith("hearth.x  it happened  service=ai/qwen")


def test_an_exception_stays_in_the_line() -> None:
    made = record()
    try:
        raise ValueError("no")
    except ValueError:
        made.exc_info = sys.exc_info()
    assert "ValueError: no" in json.loads(JsonFormatter().format(made))["error"]
    assert "ValueError: no" in TextFormatter().format(made)


def test_a_pipe_that_nobody_empties_stops_nobody_who_logs() -> None:
    reader, writer = os.pipe()
    lines = _Writer(writer, JsonFormatter())
    lines.start()
    began = time.monotonic()
    for _ in range(QUEUED_RECORDS + 5_000):  # far more than a pipe holds
        lines.put(record(padding="x" * 100))
    assert lines.dropped > 0
    lines.close()
    assert time.monotonic() - began < LAST_LINES_SECONDS * 2 + 10, "the end of the process is not held up either"
    assert lines.is_alive()
    os.close(reader)  # EPIPE ends the thread's wait
    while lines.is_alive():  # while it writes, the descriptor's number must not become somebody else's
        lines.close()
    os.close(writer)


def test_what_was_lost_is_said_when_somebody_reads_again() -> None:
    reader, writer = os.pipe()
    lines = _Writer(writer, JsonFormatter())
    lines.dropped = 7
    lines.start()
    lines.put(record())
    lines.close()
    os.close(writer)
    with os.fdopen(reader) as text:
        events = [json.loads(line) for line in text]
    assert [(event["event"], event.get("lines")) for event in events] == [
        ("it happened", None),
        ("log lines dropped", 7),
    ]


def test_lines_are_written_in_their_order_before_the_end() -> None:
    reader, writer = os.pipe()
    lines = _Writer(writer, JsonFormatter())
    lines.start()
    for number in range(100):
        lines.put(record(number=number))
    lines.close()
    assert not lines.is_alive()
    os.close(writer)
    with os.fdopen(reader) as text:
        assert [json.loads(line)["number"] for line in text] == list(range(100))
