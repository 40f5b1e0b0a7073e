"""The activator's application: what operators ask is Starlette's, everything else is the door's.

The door's requests pass neither ASGI nor a task: `ActivatorProtocol` finds the door here and hands them over.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.applications import Starlette

from hearth.activator.door import Door
from hearth.operations import operations_routes


class ActivatorApp:
    """`ready` says whether the directory is complete and requests are welcome."""

    def __init__(self, door: Door, ready: Callable[[], bool]) -> None:
        self.door = door
        routes = operations_routes(ready)
        self.operations = frozenset(route.path for route in routes)
        self._starlette = Starlette(routes=routes)

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        await self._starlette(scope, receive, send)
