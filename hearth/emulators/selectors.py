"""Label and field selectors as the API server reads them.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

import re
from collections.abc import Callable, Collection
from typing import Any

KubeObject = dict[str, Any]
Predicate = Callable[[KubeObject], bool]

_KEY = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)?"
_TERM = re.compile(
    rf"\s*(?:(?P<absent>!)\s*(?P<not>{_KEY})"
    rf"|(?P<set>{_KEY})\s+(?P<in>in|notin)\s*\((?P<values>[^()]*)\)"
    rf"|(?P<key>{_KEY})\s*(?:(?P<op>==|=|!=)\s*(?P<value>{_VALUE}))?)\s*(?:,|$)"
)


class BadSelector(ValueError):
    """A selector that can't be read; the text says where."""


def everything(item: KubeObject) -> bool:
    """Selects every object."""
    return True


def label_selector(text: str) -> Predicate:
    """Whether an object's labels match. Raises BadSelector."""
    if not text.strip():
        return everything
    tests: list[Callable[[dict[str, str]], bool]] = []
    at = 0
    while at < len(text):
        found = _TERM.match(text, at)
        if found is None or found.end() == at:
            raise BadSelector(f"unable to parse requirement: found {text[at:]!r} in {text!r}")
        tests.append(_requirement(found))
        at = found.end()
    return lambda item: all(test(item["metadata"].get("labels") or {}) for test in tests)


def _requirement(found: "re.Match[str]") -> Callable[[dict[str, str]], bool]:
    if absent := found["not"]:
        return lambda labels: absent not in labels
    if key := found["set"]:
        values = {value.strip() for value in found["values"].split(",")}
        if found["in"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values  # one without the label matches, too
    key, value = found["key"], found["value"]
    match found["op"]:
        case None:
            return lambda labels: key in labels
        case "!=":
            return lambda labels: labels.get(key) != value
        case _:
            return lambda labels: labels.get(key) == value


def field_selector(text: str, known: Collection[str]) -> Predicate:
    """Whether an object's fields match; beside `known`, its name and namespace can be named. Raises BadSelector."""
    tests: list[tuple[str, bool, str]] = []
    for term in filter(None, text.split(",")):
        found = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", term.strip())
        if found is None:
            raise BadSelector(f"invalid selector: '{text}'; can't understand '{term}'")
        path, operator, value = found.groups()
        if path not in {"metadata.name", "metadata.namespace", *known}:
            raise BadSelector(f"field label not supported: {path}")
        tests.append((path, operator != "!=", value))
    return lambda item: all((_field(item, path) == value) is equal for path, equal, value in tests)


def _field(item: KubeObject, path: str) -> str:
    value: Any = item
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)
