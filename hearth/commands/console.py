"""Rich's console, which leaves it to hearth.cli.terminal what to do where nobody reads any more."""

from rich.console import Console


class PipedConsole(Console):
    """Raises BrokenPipeError, where Rich's ends the process with 1: that is what a command says of something amiss."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - the BrokenPipeError that Rich is handling
