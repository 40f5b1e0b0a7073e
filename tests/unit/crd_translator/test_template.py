from typing import Any

import pytest

from hearth.crd_translator.template import merged, variables


@pytest.mark.parametrize(
    ("name", "twice", "once"),
    [
        ("env", [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}], [{"name": "A", "value": "2"}]),
        ("volumes", [{"name": "a", "emptyDir": {}}, {"name": "a", "hostPath": {}}], [{"name": "a", "hostPath": {}}]),
        ("volumeMounts", [{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/a"}], [{"name": "b", "mountPath": "/a"}]),
        ("imagePullSecrets", [{"name": "a"}, {"name": "a"}], [{"name": "a"}]),
        ("initContainers", [{"name": "a", "image": "x"}, {"name": "a", "tty": True}], [{"name": "a", "image": "x", "tty": True}]),
        ("tolerations", [{"key": "a"}, {"key": "a"}], [{"key": "a"}]),
        ("args", ["-v", "-v"], ["-v", "-v"]),
        (
            "topologySpreadConstraints",
            [
                {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1},
                {"topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 1},
                {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 2},
            ],
            [
                {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 2},
                {"topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 1},
            ],
        ),
        ("topologySpreadConstraints", [{"topologyKey": {"a": 1}}], [{"topologyKey": {"a": 1}}]),
    ],
)  # fmt: skip
def test_no_list_has_two_items_of_one_key(name: str, twice: list[Any], once: list[Any]) -> None:
    """The API server answers 500 to them, for as long as they are there."""
    assert merged({}, {name: twice}) == {name: once}
    assert merged({name: once}, {name: twice}) == {name: once}
    deep = {"spec": {"containers": [{"name": "a", name: twice}]}}
    assert merged({}, deep) == {"spec": {"containers": [{"name": "a", name: once}]}}


@pytest.mark.parametrize(
    ("base", "over", "found"),
    [
        (["A=1", "B=$(A)"], ["A=2"], ["A=2", "B=$(A)"]),
        (["H=x"], ["BASE=/c", "H=$(BASE)/hf"], ["BASE=/c", "H=$(BASE)/hf"]),
        (["L=info", "S=a"], ["S=b", "L=debug-$(S)"], ["S=b", "L=debug-$(S)"]),
        (["S=a", "L=info", "M=$(L)"], ["L=$(S)"], ["S=a", "L=$(S)", "M=$(L)"]),
        (["P=1"], ["P=$(P)"], ["P=$(P)"]),
        (["P=1"], ["P=$(NOBODY)"], ["P=$(NOBODY)"]),
    ],
)
def test_a_variable_stands_behind_what_it_refers_to(base: list[str], over: list[str], found: list[str]) -> None:
    def read(words: list[str]) -> list[dict[str, str]]:
        return [dict(zip(("name", "value"), word.split("=", 1), strict=True)) for word in words]

    assert variables(read(base), read(over)) == read(found)
    assert merged({"env": read(base)}, {"env": read(over)}) == {"env": read(found)}
