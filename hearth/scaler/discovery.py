"""Which activators there are: the EndpointSlices of their Service. Pure, but for the informer that feeds it."""

from collections.abc import Callable, Collection, Mapping

from hearth.kube.endpoints import Endpoint, Listing, endpoints, listed
from hearth.kube.objects import KubeObject, ObjectKey

PLAIN_PORT, TLS_PORT = "demand", "demand-tls"
"""Names of the activators' ports: which of them a pod has says how it is spoken to. The API server says it, so that
nobody on the network can talk a scaler into plain text."""


class ActivatorDirectory:
    """Takes slices as they are now and tells `on_list` the complete list of activators, host:port of each and how it
    is listed, and which of them speak plain text, whenever it changed.

    With `tls`, an activator is asked at its TLS port; one that has none, as before an upgrade, in plain text.
    """

    def __init__(self, on_list: Callable[[Mapping[str, Listing], Collection[str]], None], *, tls: bool = False) -> None:
        self._on_list = on_list
        self._tls = tls
        self._slices: dict[ObjectKey, tuple[Endpoint, ...]] = {}
        self._plain: set[ObjectKey] = set()
        self._listed: tuple[Mapping[str, Listing], Collection[str]] | None = None

    def put_slice(self, key: ObjectKey, item: KubeObject | None) -> None:
        """Take an EndpointSlice as it is now; None: it is gone."""
        self._slices.pop(key, None)
        self._plain.discard(key)
        if item is not None:
            found = endpoints(item, TLS_PORT) if self._tls else ()
            if not found:
                found = endpoints(item, PLAIN_PORT)
                self._plain.add(key)
            self._slices[key] = found
        if self._listed is not None:
            self.publish()

    def publish(self) -> None:
        """Tell the list as it is; first of all, once every slice is known."""
        all_listed = listed(self._slices.values())
        plain = {endpoint.address for key in self._plain for endpoint in self._slices[key]} & all_listed.keys()
        if (all_listed, plain) != self._listed:
            self._listed = all_listed, plain
            self._on_list(all_listed, plain)
