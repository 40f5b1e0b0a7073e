"""What a terminal, a pipe or a file can take of what commands say.

A stream that is no Unicode gets what stands for a character there; a reader that has gone is no error; a disk that is
full is told.
"""

import codecs
import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

PIPE_CLOSED = 141
"""Exit code, as a shell tells it of a program that SIGPIPE has ended."""

_PLAIN = {
    "✓": "ok",
    "✗": "!!",
    "→": "->",
    "…": "...",
    "–": "-",
    "—": "-",
    "’": "'",
    "“": '"',
    "”": '"',
    "×": "x",
    **dict(zip("▁▂▃▄▅▆▇█", "_.-:=+*#", strict=True)),
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def speak_plainly() -> None:
    """Let standard output and error take any text, whatever their encoding is."""
    codecs.register_error("hearth", _plain)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="hearth")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(character, "?") for character in error.object[error.start : error.end]), error.end


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What is written within is on its way when the context is left. Where nobody reads it any more the program ends,
    as others do; where it can't be written, it ends with 2 and says so."""
    if sys.stdout is None:  # closed by whoever started us: nobody hears the answer
        _cannot_write(os.strerror(errno.EBADF))
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        sys.exit(PIPE_CLOSED)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _drop_output()
        _cannot_write(error.strerror)


def _cannot_write(reason: str | None) -> NoReturn:
    with contextlib.suppress(OSError):  # standard error may be as full
        print(f"hearth: standard output can't be written: {reason}", file=sys.stderr)
    sys.exit(2)


def _drop_output() -> None:
    """What is still in the buffer goes nowhere: Python would try again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
