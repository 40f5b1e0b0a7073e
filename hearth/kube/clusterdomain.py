"""The domain of the cluster's Services, which every pod's resolver knows; it is not `cluster.local` everywhere."""

from pathlib import Path
from typing import Final

DEFAULT: Final = "cluster.local"
RESOLVER: Final = Path("/etc/resolv.conf")


def cluster_domain(resolver: Path = RESOLVER) -> str:
    """What the kubelet writes as `svc.DOMAIN` into a pod's search list; `cluster.local` where there is none.

    https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#namespaces-of-services
    """
    try:
        lines = resolver.read_text(errors="replace").splitlines()
    except OSError:
        return DEFAULT
    domain = DEFAULT
    for line in lines:
        keyword, *names = line.split()[:64] or [""]
        if keyword == "search":  # of several the last one counts (resolv.conf(5))
            domain = next((name[4:].rstrip(".") for name in names if name.startswith("svc.") and name[4:]), DEFAULT)
    return domain


def in_domain(address: str, domain: str) -> str:
    """NAME.NAMESPACE.svc, with or without a port, with the cluster's domain; another address as it is."""
    host, separator, port = address.partition(":")
    return f"{host}.{domain}{separator}{port}" if host.endswith(".svc") else address
