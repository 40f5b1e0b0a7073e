"""What can go wrong between us and an API server: one class for each thing that a caller can do about it.

Importing it loads no client.
"""


class KubeError(Exception):
    """The API server did not do what was asked. `status` is its HTTP status, None where it did not answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unavailable(KubeError):
    """No answer, an answer that can't be read, or an error of the server's own (5xx). It may go well the next time."""


class Unanswered(Unavailable):
    """No answer: there is no way to the API server, or the connection broke."""


class InternalError(Unavailable):
    """500: what the API server could not do may go well the next time, or never for this object: a list in it has two
    items of one key, or an admission webhook for its kind is down."""


class TooManyRequests(KubeError):
    """429: it may go well the next time."""


class Conflict(KubeError):
    """409: the object is another one, or has changed, since it was read. Read it again."""


class AlreadyExists(Conflict):
    """409 to a create: somebody has that name."""


class NotFound(KubeError):
    """404: there is no such object."""


class UnknownApi(NotFound):
    """404: the API server knows no such kind. Somebody has to install it."""


class Forbidden(KubeError):
    """401 or 403: our account may not do this."""


class Expired(KubeError):
    """410: the resourceVersion is older than what the API server remembers. List anew."""


class Refused(KubeError):
    """Any other 4xx: what was sent can't be taken as it is."""


class LeadershipLost(Exception):
    """A Lease could not be renewed in time: somebody else may lead by now."""


PASSING = (Unavailable, TooManyRequests, Conflict)
"""What the same request may not meet the next time."""


def error_of(status: int, message: str, *, reason: str = "", about: str = "") -> KubeError:
    """The error that an answer is. `reason` and `about` are those of its Status: one word, and the name of the object
    that it is about (an API server that does not know a path names none)."""
    text = f"{status}: {message}"
    if status == 409:
        return AlreadyExists(text, status) if reason == "AlreadyExists" else Conflict(text, status)
    if status == 404:
        return NotFound(text, status) if about else UnknownApi(text, status)
    kinds = {401: Forbidden, 403: Forbidden, 410: Expired, 429: TooManyRequests, 500: InternalError}
    return kinds.get(status, Unavailable if status >= 500 else Refused)(text, status)
