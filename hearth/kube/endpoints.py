"""Reading EndpointSlices: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hearth.kube.objects import KubeObject, mapping, mappings, number, text, texts

Listing = Literal["ready", "terminating", "unready"]
"""How a Service lists a pod. Unready: it starts, or its readiness probe fails."""

_ORDER: tuple[Listing, ...] = ("ready", "terminating", "unready")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address (host:port, an IPv6 host in brackets) of one pod; `pod` is its uid, "" where the slice names none."""

    address: str
    listing: Listing
    pod: str = ""


def endpoints(item: KubeObject, port_name: str | None = None) -> tuple[Endpoint, ...]:
    """The endpoints of a slice, at its port of this name, or else at its first."""
    if text(item, "addressType") not in ("IPv4", "IPv6"):  # FQDN: nobody knows where names lead
        return ()
    found = [port for port in mappings(item, "ports") if port_name in (None, port.get("name"))]
    port = next((found_port for one in found if 0 < (found_port := number(one, "port")) < 2**16), None)
    if port is None:
        return ()
    return tuple(
        Endpoint(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", _listing(endpoint), _pod(endpoint))
        for endpoint in mappings(item, "endpoints")
        for host in texts(endpoint, "addresses")
    )


def listed(slices: Iterable[Iterable[Endpoint]]) -> dict[str, Listing]:
    """How each pod of a Service's slices is listed, by one address.

    A dual-stack Service has every pod in a slice of each family: it is one pod all the same, and its IPv4 address is
    taken. While slices are rewritten an endpoint may be in two of them: it is ready where one says so.
    """
    taken: dict[str, Endpoint] = {}
    for endpoint in sorted((endpoint for each in slices for endpoint in each), key=_preference):
        taken.setdefault(endpoint.pod or endpoint.address, endpoint)
    return {endpoint.address: endpoint.listing for endpoint in taken.values()}


def _preference(endpoint: Endpoint) -> tuple[bool, int, str]:
    return endpoint.address.startswith("["), _ORDER.index(endpoint.listing), endpoint.address


def _pod(endpoint: KubeObject) -> str:
    return text(endpoint, "targetRef", "uid")


def _listing(endpoint: KubeObject) -> Listing:
    conditions = mapping(endpoint, "conditions")
    if conditions.get("terminating"):
        return "terminating"
    return "unready" if conditions.get("ready") is False else "ready"  # a missing `ready` counts as true
