"""What the API server of `hearth up` says of itself at /version, so that whoever asks knows that it is no cluster's."""

LOCAL_VERSION = "v1.36.3+hearth.up"
"""The Kubernetes whose API it plays, with its own name as the build: https://semver.org/#spec-item-10."""


def is_local(version: str) -> bool:
    """Whether a gitVersion is that of a `hearth up`."""
    return version.endswith("+hearth.up")
