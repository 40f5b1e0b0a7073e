"""The command line. Thin: what a command needs is imported only when it runs, so that `hearth --help` is quick.

Exit codes: 0 done; 1 it ran and failed, or somebody has to act; 2 what was given can't be used, nothing was started.
"""

from hearth.cli import local, people, roles  # in the order in which --help lists them
from hearth.cli.common import app

__all__ = ["app", "local", "main", "people", "roles"]


def main() -> None:
    """The entry point of the `hearth` command."""
    app()
