"""What commands print on: Rich's console, and texts of others that can't steer a terminal.

Whoever writes a status, an image's name or a model's answer could move the cursor with it, or hide what stands there:
https://github.com/kubernetes/kubernetes/issues/101695.
"""

from rich.console import Console

_SHOWN = {number: f"\\x{number:02x}" for number in (*range(32), 127, *range(128, 160)) if chr(number) not in "\t\n"}


def visible(text: str) -> str:
    """The text with its control characters written out; lines and tabs stay."""
    return text.translate(_SHOWN)


class PipedConsole(Console):
    """Raises BrokenPipeError, where Rich's ends the process with 1: that is what a command says of something amiss."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - the BrokenPipeError that Rich is handling
