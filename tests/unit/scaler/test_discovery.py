from collections.abc import Collection, Mapping
from typing import Any

from hearth.kube.endpoints import Listing
from hearth.kube.objects import ObjectKey
from hearth.scaler.discovery import ActivatorDirectory


def endpoint(address: str, pod: str = "", **conditions: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"addresses": [address], "conditions": conditions}
    return {**made, "targetRef": {"kind": "Pod", "uid": pod}} if pod else made


def slice_of(*endpoints: dict[str, Any], port: str = "demand") -> dict[str, Any]:
    ports = [{"name": "http", "port": 8080}, {"name": port, "port": 9091}]
    return {"metadata": {"name": "s"}, "addressType": "IPv4", "ports": ports, "endpoints": list(endpoints)}


class Directory:
    def __init__(self, *, tls: bool = False) -> None:
        self.lists: list[Mapping[str, Listing]] = []
        self.plain: list[set[str]] = []
        self.directory = ActivatorDirectory(self._listed, tls=tls)

    def _listed(self, listed: Mapping[str, Listing], plain: Collection[str]) -> None:
        self.lists.append(listed)
        self.plain.append(set(plain))

    def put(self, name: str, item: dict[str, Any] | None) -> None:
        self.directory.put_slice(ObjectKey("hearth-system", name), item)


def test_nothing_is_told_before_everything_is_known() -> None:
    seen = Directory()
    seen.put("a", slice_of(endpoint("10.0.0.1", ready=True)))
    seen.put("b", slice_of(endpoint("fd00::1", ready=True)))
    assert seen.lists == []
    seen.directory.publish()
    assert seen.lists == [{"10.0.0.1:9091": "ready", "[fd00::1]:9091": "ready"}]


def test_no_activator_is_a_list_too() -> None:
    seen = Directory()
    seen.directory.publish()
    assert seen.lists == [{}]


def test_each_is_listed_as_its_conditions_say() -> None:
    seen = Directory()
    seen.directory.publish()
    drains = endpoint("10.0.0.2", ready=False, terminating=True)
    seen.put("a", slice_of(endpoint("10.0.0.1", ready=False), drains, endpoint("10.0.0.3")))
    assert seen.lists[-1] == {"10.0.0.1:9091": "unready", "10.0.0.2:9091": "terminating", "10.0.0.3:9091": "ready"}


def test_one_that_leaves_is_told_and_what_does_not_change_is_not() -> None:
    seen = Directory()
    seen.directory.publish()
    for _ in range(2):
        seen.put("a", slice_of(endpoint("10.0.0.1", ready=True)))
    seen.put("a", slice_of(endpoint("10.0.0.1", ready=False, terminating=True)))
    seen.put("a", None)
    assert seen.lists == [{}, {"10.0.0.1:9091": "ready"}, {"10.0.0.1:9091": "terminating"}, {}]


def test_a_slice_without_the_port_lists_nobody() -> None:
    seen = Directory()
    seen.put("a", slice_of(endpoint("10.0.0.1", ready=True), port="metrics"))
    seen.directory.publish()
    assert seen.lists == [{}]


def test_a_pod_of_a_dual_stack_service_is_counted_once() -> None:
    seen = Directory()
    seen.put("six", slice_of(endpoint("fd00::1", pod="one"), endpoint("fd00::2", pod="two")))
    seen.put("four", slice_of(endpoint("10.0.0.1", pod="one")))
    seen.directory.publish()
    assert seen.lists == [{"10.0.0.1:9091": "ready", "[fd00::2]:9091": "ready"}]


def test_one_that_two_slices_tell_of_is_ready_where_one_says_so() -> None:
    for first, second in (("a", "b"), ("b", "a")):
        seen = Directory()
        seen.put(first, slice_of(endpoint("10.0.0.1", pod="one", ready=True)))
        seen.put(second, slice_of(endpoint("10.0.0.1", pod="one", ready=False)))
        seen.directory.publish()
        assert seen.lists == [{"10.0.0.1:9091": "ready"}]


def test_with_certificates_the_port_that_has_them_is_asked_and_plain_text_where_there_is_none() -> None:
    """While Hearth is upgraded from plain text: the pods that are there still have one port, the next have both."""
    seen = Directory(tls=True)
    seen.directory.publish()
    before = slice_of(endpoint("10.0.0.1", ready=True))
    seen.put("before", before)
    after = slice_of(endpoint("10.0.0.2", ready=True))
    seen.put("after", {**after, "ports": [*after["ports"], {"name": "demand-tls", "port": 9443}]})
    assert seen.lists[-1] == {"10.0.0.1:9091": "ready", "10.0.0.2:9443": "ready"}
    assert seen.plain[-1] == {"10.0.0.1:9091"}
    seen.put("before", None)
    assert seen.plain[-1] == set()


def test_without_certificates_the_plain_port_is_asked() -> None:
    seen = Directory()
    seen.directory.publish()
    both = slice_of(endpoint("10.0.0.2", ready=True))
    seen.put("a", {**both, "ports": [{"name": "demand-tls", "port": 9443}, *both["ports"]]})
    assert seen.lists[-1] == {"10.0.0.2:9091": "ready"}
