"""YAML as kubectl reads it: into JSON's values, and back into text that kubectl reads as the same.

kubectl reads with sigs.k8s.io/yaml, a YAML 1.1 of Go's own: `y` is true, `1e3` is a number, `0o17` too, `1:30` and
`2026-01-01` are text. PyYAML has it otherwise in each of these.
"""

import math
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import yaml

_BOOLS = {
    **{word: True for text in ("y", "yes", "on", "true") for word in (text, text.capitalize(), text.upper())},
    **{word: False for text in ("n", "no", "off", "false") for word in (text, text.capitalize(), text.upper())},
}
_NULLS = ("", "~", "null", "Null", "NULL")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# What Go's ParseInt reads with base 0: 0x, 0o, 0b, and a 0 alone for octal.
_INT = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[oO]?([0-7]+)|0[bB]([01]+)|(0|[1-9][0-9]*))")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INT_BITS = 64
# Go writes a float64 without an exponent up to here.
_WHOLE = 1e21

_BREAKS = frozenset("\x85\u2028\u2029")

_MOST_NODES = 400_000
"""Of a document whose aliases are written out, each in its place; as go-yaml has it. Without any there may be more."""

_PREFIX = "tag:yaml.org,2002:"
_PLAIN = f"{_PREFIX}plain"


def plain_value(text: str) -> object:
    """What text without quotes stands for: None, a bool, an int, a float or itself.

    Raises ValueError where JSON has no such number.
    """
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"found {text}; JSON has no such number")
    # Go looks for a number where one may begin, and leaves underscores out of it.
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    if found := _INT.fullmatch(digits):
        sign, *written = found.groups()
        for base, part in zip((16, 8, 2, 10), written, strict=True):
            if part is not None and (number := _whole(sign, part, base)) is not None:
                return number
    if _FLOAT.fullmatch(digits) and math.isfinite(point := float(digits)):
        # As JSON it is written without a fraction where it has none, and read as a whole number.
        return int(Decimal(repr(point))) if point.is_integer() and abs(point) < _WHOLE else point
    return text


def _whole(sign: str, digits: str, base: int) -> int | None:
    """A number that fits Go's int64 or, without a sign, its uint64; None for a larger one."""
    if len(digits) > _INT_BITS:
        return None
    number = int(digits, base) * (-1 if sign == "-" else 1)
    return number if -(2 ** (_INT_BITS - 1)) <= number < 2 ** (_INT_BITS - bool(sign)) else None


class _Loader(yaml.SafeLoader):
    """Refuses what kubectl's strict reading does (a key twice) and what is no value of JSON."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode and implicit[0]:
            return f"{_PREFIX}merge" if value == "<<" else _PLAIN
        resolved: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return resolved

    def compose_document(self) -> yaml.Node | None:
        """Raises ConstructorError for one that is larger than anybody wrote, or has no end."""
        node: yaml.Node | None = super().compose_document()
        if node is not None:
            known: dict[int, int] = {}
            size = _size(node, known)
            if size > max(_MOST_NODES, len(known)):
                told = f"its aliases stand for more than {_MOST_NODES} values"
                raise yaml.constructor.ConstructorError(None, None, told, node.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == f"{_PREFIX}merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, bool | int | float):
                key = str(key).lower()  # as JSON's keys are
                key_node.tag, key_node.value = f"{_PREFIX}str", key
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"found the key {key!r}; expected text", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"found the key {key!r} twice; expected it once", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many nodes there are from this one on, those counted again that an alias stands for. `known` has those that
    were counted, by identity; 0 of one that is being counted. Raises ConstructorError for one that is its own part."""
    size = known.get(id(node))
    if size == 0:
        raise yaml.constructor.ConstructorError(None, None, "found an alias of what it is in", node.start_mark)
    if size is None:
        known[id(node)] = 0
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        flat = (each for part in parts for each in (part if isinstance(part, tuple) else (part,)))
        size = known[id(node)] = 1 + sum(_size(part, known) for part in flat)
    return size


def _plain(loader: _Loader, node: yaml.ScalarNode) -> object:
    try:
        return plain_value(_text(loader, node))
    except ValueError as error:
        raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise yaml.constructor.ConstructorError(None, None, "found half of a character", node.start_mark)
    return text


_Loader.yaml_constructors = {
    f"{_PREFIX}map": yaml.SafeLoader.construct_yaml_map,
    f"{_PREFIX}seq": yaml.SafeLoader.construct_yaml_seq,
    f"{_PREFIX}null": yaml.SafeLoader.construct_yaml_null,
    **{f"{_PREFIX}{tag}": _text for tag in ("str", "merge", "timestamp")},
    **{f"{_PREFIX}{tag}": _plain for tag in ("plain", "bool", "int", "float")},
    None: yaml.SafeLoader.construct_undefined,
}


class _Dumper(yaml.SafeDumper):
    """Quotes what kubectl would not read as the text that it is."""


def _quoted(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    try:
        style = None if plain_value(text) == text else "'"
    except ValueError:
        style = "'"
    if not _BREAKS.isdisjoint(text):
        style = '"'  # which escapes them; between other quotes they would be folded
    return dumper.represent_scalar(f"{_PREFIX}str", text, style=style)


_Dumper.add_representer(str, _quoted)


def load_all(text: str) -> Iterator[Any]:
    """The documents of a text. Raises yaml.YAMLError, ValueError or RecursionError."""
    return yaml.load_all(text, _Loader)


def load(text: str | bytes) -> Any:
    """The one document of a text. Raises as `load_all`."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def dump_all(documents: Iterable[object]) -> str:
    """Documents as text, keys in their order."""
    made: str = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return made
