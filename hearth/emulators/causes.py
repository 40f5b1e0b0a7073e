"""The error that stands behind a group of errors: what a person is told of tasks that failed together."""


def cause(error: BaseException) -> BaseException:
    """The first error of a group that is no group itself; an error that stands alone."""
    return cause(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
