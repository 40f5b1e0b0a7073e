"""Logs: one line per event. JSON where nobody reads along, plain words on a terminal.

Every event is `log.info("what happened", extra=fields(...))`. Never a prompt's text and never a key: callers log
names, counts, durations and status codes.
"""

import atexit
import json
import logging
import sys
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import Literal

LogFormat = Literal["auto", "json", "text"]


def fields(**values: object) -> dict[str, object]:
    """The `extra` argument of a logging call, for structured fields."""
    return {"hearth": values}


class JsonFormatter(logging.Formatter):
    """{"time": RFC 3339, "level": …, "logger": …, "event": …, fields…} on one line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "hearth", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """`12:30:05 INFO    hearth.scaler  event  key=value`, for people."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        pairs = "".join(f"  {key}={value}" for key, value in getattr(record, "hearth", {}).items())
        line = f"{time} {record.levelname:<7} {record.name}  {record.getMessage()}{pairs}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(log_format: LogFormat = "auto", level: str = "INFO", *, access_log: bool = False) -> None:
    """Send all logs to standard error. `auto` is text on a terminal and JSON elsewhere. With `access_log`, what goes to
    the logger hearth.access is formatted and written by a thread: a line for each request must hold up none."""
    handler = logging.StreamHandler(sys.stderr)
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if access_log:
        lines: SimpleQueue[logging.LogRecord] = SimpleQueue()
        access = logging.getLogger("hearth.access")
        access.handlers, access.propagate = [QueueHandler(lines)], False
        listener = QueueListener(lines, handler)
        listener.start()
        atexit.register(listener.stop)
