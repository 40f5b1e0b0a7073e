"""What can go wrong between us and an API server. Importing it loads no client."""


class ApiUnavailable(Exception):
    """The API server did not answer, or answered with an error."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Expired(ApiUnavailable):
    """410 Gone: the resourceVersion is older than what the API server remembers. List anew."""


class LeadershipLost(Exception):
    """A Lease could not be renewed in time: somebody else may lead by now."""
