import json
import logging
import sys

from hearth.logs import JsonFormatter, TextFormatter, fields


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
