"""Logs: one line per event. JSON where nobody reads along, plain words on a terminal.

Every event is `log.info("what happened", extra=fields(...))`. Never a prompt's text and never a key: callers log
names, counts, durations and status codes.
"""

import atexit
import contextlib
import json
import logging
import os
import sys
import threading
from datetime import UTC, datetime
from queue import Full, Queue
from typing import Final, Literal

LogFormat = Literal["auto", "json", "text"]

QUEUED_RECORDS: Final = 10_000
"""Lines that wait to be written, at most."""
LAST_LINES_SECONDS: Final = 1.0
"""What the last lines get to be written when the process ends."""


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


class _Writer(threading.Thread):
    """Formats and writes records, in a thread of its own: whoever logs waits for nobody who reads.

    A pipe that nobody empties stops this thread alone. What does not fit into the queue meanwhile is dropped and
    counted, and the count is written when there is room again.
    """

    def __init__(self, descriptor: int, formatter: logging.Formatter) -> None:
        super().__init__(name="logs", daemon=True)
        self.dropped = 0
        self._records: Queue[logging.LogRecord | None] = Queue(QUEUED_RECORDS)
        self._descriptor = descriptor
        self._formatter = formatter

    def put(self, record: logging.LogRecord) -> None:
        try:
            self._records.put_nowait(record)
        except Full:
            self.dropped += 1

    def run(self) -> None:
        told = 0
        while (record := self._records.get()) is not None:
            self._write(record)
            if self.dropped > told:
                lost, told = self.dropped - told, self.dropped
                made = {
                    "name": __name__,
                    "levelno": logging.WARNING,
                    "levelname": "WARNING",
                    "msg": "log lines dropped",
                }
                self._write(logging.makeLogRecord(made | fields(lines=lost)))

    def _write(self, record: logging.LogRecord) -> None:
        # Not through sys.stderr, whose lock would be held while the pipe is full, also at the end of the process.
        line = memoryview(f"{self._formatter.format(record)}\n".encode(errors="backslashreplace"))
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            self.dropped += 1  # a pipe whose reader is gone, a full disk

    def close(self) -> None:
        """Write what is in the queue, as long as somebody reads it."""
        with contextlib.suppress(Full):
            self._records.put(None, timeout=LAST_LINES_SECONDS)
        self.join(LAST_LINES_SECONDS)


class _Queued(logging.Handler):
    def __init__(self, writer: _Writer) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        self._writer.put(record)


_writers: list[_Writer] = []


def dropped_lines() -> int:
    """Lines of log that were lost since nobody read them fast enough."""
    return sum(writer.dropped for writer in _writers)


def configure(log_format: LogFormat = "auto", level: str = "INFO") -> None:
    """Send all logs to standard error, written by a thread. `auto` is text on a terminal and JSON elsewhere."""
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    writer = _Writer(sys.stderr.fileno(), TextFormatter() if text else JsonFormatter())
    _writers.append(writer)
    writer.start()
    atexit.register(writer.close)
    logging.basicConfig(handlers=[_Queued(writer)], level=level.upper(), force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
