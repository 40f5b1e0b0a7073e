"""The activator's Starlette application: what operators ask, and the door for everything else."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.routing import Mount

from hearth.activator.door import Door
from hearth.operations import operations_routes


def create_app(door: Door, ready: Callable[[], bool]) -> Starlette:
    """`ready` says whether the directory is complete and requests are welcome."""
    return Starlette(routes=[*operations_routes(ready), Mount("/", app=door)])
