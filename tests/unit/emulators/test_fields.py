"""Server-side apply as https://kubernetes.io/docs/reference/using-api/server-side-apply/ documents it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hearth.emulators.fields import (
    Manager,
    Owners,
    applied,
    conflicts,
    fields_of,
    managed_fields,
    owners_of,
    readable,
    updated,
)

A, B = Manager("a", "Apply"), Manager("b", "Apply")
EDITOR = Manager("editor", "Update")


def thing(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec}


def run(*steps: tuple[Manager, dict[str, Any]]) -> tuple[dict[str, Any], Owners]:
    """The object after these applies, by force."""
    live: dict[str, Any] = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x"}}
    owners: Owners = {}
    for manager, wanted in steps:
        live, owners = applied(owners, manager, live, wanted)
    return live, owners


def test_a_field_that_is_no_longer_applied_goes() -> None:
    live, _ = run((A, thing(replicas=0, image="i")), (A, thing(image="i")))
    assert live["spec"] == {"image": "i"}


def test_unless_somebody_else_applies_it_too() -> None:
    """How a controller hands a field over: a second manager says the same, then the first says it no more."""
    live, owners = run((A, thing(replicas=0, image="i")), (B, thing(replicas=0)), (A, thing(image="i")))
    assert live["spec"] == {"image": "i", "replicas": 0}
    assert owners[B] == {("f:spec", "f:replicas")}
    assert ("f:spec", "f:replicas") not in owners[A]


def test_who_says_another_value_takes_the_field_over() -> None:
    live, owners = run((A, thing(replicas=0)), (B, thing(replicas=3)))
    assert live["spec"] == {"replicas": 3}
    assert owners[A] == frozenset()


def test_a_conflict_names_the_manager_and_the_field() -> None:
    live, owners = run((A, thing(replicas=0, image="i")))
    found = conflicts(owners, B, live, thing(replicas=1, image="i"))
    assert [(conflict.manager, readable(conflict.path)) for conflict in found] == [(A, ".spec.replicas")]
    assert conflicts(owners, A, live, thing(replicas=1)) == [], "nobody is in conflict with oneself"


def test_an_update_takes_what_it_changes() -> None:
    live, owners = run((A, thing(replicas=0, image="i")))
    after = updated(owners, EDITOR, live, thing(replicas=2, image="i"))
    assert after[EDITOR] == {("f:spec", "f:replicas")}
    assert after[A] == {("f:spec", "f:image")}
    without = updated(owners, EDITOR, live, thing(image="i"))
    assert without[A] == {("f:spec", "f:image")}
    assert without[EDITOR] == frozenset(), "what is gone is nobody's"


def test_items_of_a_map_list_are_owned_one_by_one() -> None:
    live, owners = run(
        (A, thing(containers=[{"name": "one", "image": "1"}, {"name": "two", "image": "2"}])),
        (B, thing(containers=[{"name": "three", "image": "3"}])),
        (A, thing(containers=[{"name": "one", "image": "1b"}])),
    )
    assert live["spec"]["containers"] == [{"name": "one", "image": "1b"}, {"name": "three", "image": "3"}]
    (path,) = [path for path in owners[B] if path[-1] == "f:image"]
    assert readable(path) == '.spec.containers[name="three"].image'


def test_an_item_stays_where_another_manager_says_a_part_of_it() -> None:
    live, _ = run(
        (A, thing(env=[{"name": "X", "value": "1"}])),
        (B, thing(env=[{"name": "X", "other": "2"}])),
        (A, thing(image="i")),
    )
    assert live["spec"]["env"] == [{"name": "X", "other": "2"}]


def test_other_lists_and_selectors_are_one_value() -> None:
    live, _ = run((A, thing(args=["a", "b"], nodeSelector={"x": "1"})), (A, thing(args=["c"], nodeSelector={"y": "2"})))
    assert live["spec"] == {"args": ["c"], "nodeSelector": {"y": "2"}}


def test_who_an_object_is_and_what_the_server_writes_has_no_owner() -> None:
    item = thing(replicas=1)
    item["metadata"] |= {"uid": "u", "resourceVersion": "5", "labels": {"app": "x"}}
    assert fields_of(item) == {("f:metadata", "f:labels", "f:app"), ("f:spec", "f:replicas")}


def test_managed_fields_are_written_and_read_as_the_api_has_them() -> None:
    _, owners = run((A, thing(replicas=0)), (Manager("b", "Apply", "status"), {**thing(), "status": {"phase": "x"}}))
    written = managed_fields(owners, [], "v1", "2026-01-01T00:00:00Z")
    assert written[0] == {
        "manager": "a",
        "operation": "Apply",
        "apiVersion": "v1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
    }
    assert written[1]["subresource"] == "status"
    assert owners_of({"metadata": {"managedFields": written}}) == owners
    again = managed_fields(owners, written, "v1", "2027-01-01T00:00:00Z")
    assert again == written, "what did not change keeps its time"


values = st.recursive(
    st.integers(0, 3), lambda inner: st.dictionaries(st.sampled_from("pqr"), inner, max_size=3), max_leaves=6
)
specs = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(st.lists(st.tuples(st.sampled_from([A, B]), specs), min_size=1, max_size=6))
def test_after_an_apply_all_that_it_says_is_so(steps: list[tuple[Manager, dict[str, Any]]]) -> None:
    live, owners = run(*((manager, thing(**spec)) for manager, spec in steps))
    last, wanted = steps[-1]
    assert owners[last] == fields_of(thing(**wanted))
    again, _ = applied(owners, last, live, thing(**wanted))
    assert again == live, "an apply repeated changes nothing"
    assert conflicts(owners, last, live, thing(**wanted)) == []
