"""Faults: errors of our own while something was done for one object, update, timer or request.

No single one of these may end what serves the others. What is done for one runs inside `contained`: what it raises is
logged with the name of what it was about and counted, and the caller goes on with the next. The count is the process',
and every role tells it as a metric (hearth/metrics.py).
"""

import logging
from collections import Counter
from types import TracebackType
from typing import Literal, get_args

from hearth.logs import fields

log = logging.getLogger(__name__)

Where = Literal["object", "watch", "reconcile", "lease", "update", "timer", "request"]
"""object: one object of a watch; watch: a list or watch as a whole; reconcile: one look at one LLMService; lease: a try
for the Lease; update: one update of an activator; timer and request: of the activator."""

_counted: Counter[Where] = Counter()


def counted() -> dict[Where, int]:
    """Faults of this process so far, by where; those that never were are 0."""
    return {where: _counted[where] for where in get_args(Where)}


def tell(where: Where, error: BaseException, **about: object) -> None:
    """Count and log a fault that was contained, for who has it in hand."""
    _counted[where] += 1
    log.error("fault contained", exc_info=error, extra=fields(where=where, **about))


class contained:  # noqa: N801  (used as `with contained(...)`, like contextlib's)
    """A context in which an Exception ends the context and nothing else; `failed` says afterwards whether one did.

    `about` names what it was done for, for the log. Cancellation and the end of the process pass through.
    """

    def __init__(self, where: Where, **about: object) -> None:
        self.failed = False
        self._where = where
        self._about = about

    def __enter__(self) -> "contained":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.failed = True
        tell(self._where, error, **self._about)
        return True
