"""The command line. Thin: what a command needs is imported only when it runs, so that `hearth --help` is quick.

Exit codes: 0 done; 1 it ran and failed, or somebody has to act; 2 what was given can't be used, the question could not
be asked, or its answer not be written. 130 and 141 are what shells have for Ctrl-C and for a reader that has gone.
"""

import os

from hearth.cli import local, people, roles  # in the order in which --help lists them
from hearth.cli.common import app
from hearth.cli.terminal import speak_plainly, told

__all__ = ["app", "local", "main", "people", "roles"]


def main() -> None:
    """The entry point of the `hearth` command."""
    # gRPC writes lines of its own form to standard error, one for each handshake that fails; what we log is JSON.
    # Whoever looks for a fault of gRPC's own sets the variable (gRPC's doc/environment_variables.md).
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    speak_plainly()
    with told():
        app()
