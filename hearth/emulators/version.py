"""How a `hearth up` tells whoever asks that it is no cluster, and what it does not count."""

LOCAL_VERSION = "v1.36.3+hearth.up"
"""The Kubernetes whose API it plays, with its own name as the build: https://semver.org/#spec-item-10."""

UNCOUNTED = "emulator.local/no-device"
"""The resource of a Node whose devices nobody counts. A Node without any would say nothing about which vendors there
are; this one says that it has none of those that are not named beside it."""


def is_local(version: str) -> bool:
    """Whether a gitVersion is that of a `hearth up`."""
    return version.endswith("+hearth.up")
