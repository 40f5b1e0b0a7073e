"""Reading EndpointSlices: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/"""

from typing import Any


def addresses(item: dict[str, Any], *, drains: bool = False, port_name: str | None = None) -> frozenset[str]:
    """The host:port of the ready endpoints of a slice, with `drains` also of those that terminate; of the port with
    this name, or else of the first."""
    ports = [port for port in item.get("ports") or [] if port.get("port") and port_name in (None, port.get("name"))]
    if not ports:
        return frozenset()
    hosts: list[str] = []
    for endpoint in item.get("endpoints") or []:
        conditions = endpoint.get("conditions") or {}
        terminating = bool(conditions.get("terminating"))
        # A missing `ready` counts as true.
        if drains if terminating else conditions.get("ready") is not False:
            hosts += endpoint.get("addresses") or []
    port = ports[0]["port"]
    return frozenset(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts)
