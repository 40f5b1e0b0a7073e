"""Reading EndpointSlices: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/"""

from hearth.kube.objects import KubeObject, mapping, mappings, number, text, texts


def addresses(item: KubeObject, *, drains: bool = False, port_name: str | None = None) -> frozenset[str]:
    """The host:port of the ready endpoints of a slice, with `drains` also of those that terminate; of the port with
    this name, or else of the first. A slice of names, addressType FQDN, has none: nobody knows where those lead."""
    if text(item, "addressType") not in ("IPv4", "IPv6"):
        return frozenset()
    found = [port for port in mappings(item, "ports") if port_name in (None, port.get("name"))]
    port = next((found_port for one in found if 0 < (found_port := number(one, "port")) < 2**16), None)
    if port is None:
        return frozenset()
    hosts: list[str] = []
    for endpoint in mappings(item, "endpoints"):
        conditions = mapping(endpoint, "conditions")
        terminating = bool(conditions.get("terminating"))
        # A missing `ready` counts as true.
        if drains if terminating else conditions.get("ready") is not False:
            hosts += texts(endpoint, "addresses")
    return frozenset(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts)
