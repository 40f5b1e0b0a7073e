"""Which activators there are: the EndpointSlices of their Service. Pure, but for the informer that feeds it."""

from collections.abc import Callable, Mapping

from hearth.kube.endpoints import Endpoint, Listing, endpoints, listed
from hearth.kube.objects import KubeObject, ObjectKey

PORT_NAME = "demand"


class ActivatorDirectory:
    """Takes slices as they are now and tells `on_list` the complete list of activators, host:port of each and how it
    is listed, whenever it changed.
    """

    def __init__(self, on_list: Callable[[Mapping[str, Listing]], None]) -> None:
        self._on_list = on_list
        self._slices: dict[ObjectKey, tuple[Endpoint, ...]] = {}
        self._listed: Mapping[str, Listing] | None = None

    def put_slice(self, key: ObjectKey, item: KubeObject | None) -> None:
        """Take an EndpointSlice as it is now; None: it is gone."""
        self._slices.pop(key, None)
        if item is not None:
            self._slices[key] = endpoints(item, PORT_NAME)
        if self._listed is not None:
            self.publish()

    def publish(self) -> None:
        """Tell the list as it is; first of all, once every slice is known."""
        now = listed(self._slices.values())
        if now != self._listed:
            self._listed = now
            self._on_list(now)
