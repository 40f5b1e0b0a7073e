"""Which activators there are: the EndpointSlices of their Service. Pure, but for the informer that feeds it."""

from collections.abc import Callable

from hearth.kube.endpoints import addresses
from hearth.kube.objects import KubeObject, ObjectKey

PORT_NAME = "demand"


class ActivatorDirectory:
    """Takes slices as they are now and tells `on_list` the complete list of host:port whenever it changed.

    Listed are activators that are ready, and those that terminate: these still have answers under way. One that is
    not ready yet holds nobody, and one that keeps crashing must not keep models awake.
    """

    def __init__(self, on_list: Callable[[list[str]], None]) -> None:
        self._on_list = on_list
        self._slices: dict[ObjectKey, frozenset[str]] = {}
        self._listed: list[str] | None = None

    def put_slice(self, key: ObjectKey, item: KubeObject | None) -> None:
        """Take an EndpointSlice as it is now; None: it is gone."""
        self._slices.pop(key, None)
        if item is not None:
            self._slices[key] = addresses(item, drains=True, port_name=PORT_NAME)
        if self._listed is not None:
            self.publish()

    def publish(self) -> None:
        """Tell the list as it is; first of all, once every slice is known."""
        listed = sorted(frozenset().union(*self._slices.values()))
        if listed != self._listed:
            self._listed = listed
            self._on_list(listed)
