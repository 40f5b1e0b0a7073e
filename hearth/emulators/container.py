"""What a container starts as: its command and its environment, as a kubelet and a container runtime make them.

Pure: of a container of a pod template, its pod and its image; what Secrets and ConfigMaps hold is asked of the caller.
It knows neither processes nor ports. https://kubernetes.io/docs/tasks/inject-data-application/
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SourceKind = Literal["Secret", "ConfigMap"]

# Kubernetes' expansion: $$ is a dollar, $(NAME) a variable's value, and everything else is what it looks like.
_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class NotStartable(Exception):
    """The container can't be made. `reason` is the kubelet's word for it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Image:
    """What an image says by itself: its entry point, its default arguments and its environment."""

    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    """What is executed, and everything that stands in its environment."""

    argv: list[str]
    env: dict[str, str]


def _holds_nothing(kind: SourceKind, name: str) -> Mapping[str, str] | None:
    return None


def start_of(
    container: Mapping[str, Any],
    pod: Mapping[str, Any],
    image: Image,
    data: Callable[[SourceKind, str], Mapping[str, str] | None] = _holds_nothing,
) -> Start:
    """How a container of `pod` starts. `data(kind, name)` is what a Secret or ConfigMap of its namespace holds, None
    where there is none.

    `command` replaces the image's entry point and its arguments, `args` the arguments alone. Raises NotStartable.
    """
    if not (container.get("command") or image.entrypoint or image.arguments):
        raise NotStartable(
            "CreateContainerError",
            f"container {container['name']}: command: found none, and image {container.get('image', '')!r} has no "
            "entry point that is known here; give the container a command",
        )
    given = environment_of(container, pod, data)
    command = [expand(word, given) for word in container.get("command") or ()]
    words = [expand(word, given) for word in container.get("args") or ()]
    argv = [*(command or image.entrypoint), *(words or (() if command else image.arguments))]
    return Start(argv, {**image.env, "HOSTNAME": pod["metadata"]["name"], **given})


def environment_of(
    container: Mapping[str, Any],
    pod: Mapping[str, Any],
    data: Callable[[SourceKind, str], Mapping[str, str] | None] = _holds_nothing,
) -> dict[str, str]:
    """What the container's own `envFrom` and `env` give. A value may name variables that stand before it.

    Raises NotStartable.
    """
    made: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix", "")
        for kind, reference in _references(source, "Ref"):
            made |= {prefix + key: value for key, value in _held(kind, reference, data).items()}
    for variable in container.get("env") or ():
        name, source = variable["name"], variable.get("valueFrom")
        if source is None:
            made[name] = expand(variable.get("value") or "", made)
        elif (value := _value_from(source, container, pod, data)) is not None:
            made[name] = value
    return made


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with $(NAME) replaced; the name of no variable stays as it stands, and $$ is one dollar."""

    def replaced(found: re.Match[str]) -> str:
        name = found[1]
        return "$" if name is None else variables.get(name, found[0])

    return _REFERENCE.sub(replaced, text)


def _references(source: Mapping[str, Any], suffix: str) -> list[tuple[SourceKind, Mapping[str, Any]]]:
    kinds: tuple[tuple[SourceKind, str], ...] = (("Secret", "secret"), ("ConfigMap", "configMap"))
    return [(kind, source[word + suffix]) for kind, word in kinds if word + suffix in source]


def _held(
    kind: SourceKind, reference: Mapping[str, Any], data: Callable[[SourceKind, str], Mapping[str, str] | None]
) -> Mapping[str, str]:
    held = data(kind, reference["name"])
    if held is None and not reference.get("optional"):
        raise _config_error(f'{kind.lower()} "{reference["name"]}" not found')
    return held or {}


def _value_from(
    source: Mapping[str, Any],
    container: Mapping[str, Any],
    pod: Mapping[str, Any],
    data: Callable[[SourceKind, str], Mapping[str, str] | None],
) -> str | None:
    """None: what is optional is not there, and so is the variable."""
    for kind, reference in _references(source, "KeyRef"):
        held = _held(kind, reference, data)
        key = reference["key"]
        if key not in held and not reference.get("optional"):
            raise _config_error(f"couldn't find key {key} in {kind} {reference['name']}")
        return held.get(key)
    if "fieldRef" in source:
        return _pod_field(source["fieldRef"]["fieldPath"], pod)
    found = ", ".join(source)
    raise _config_error(
        f"container {container['name']}: env: valueFrom: found {found}; known here are secretKeyRef, configMapKeyRef "
        "and fieldRef"
    )


def _pod_field(path: str, pod: Mapping[str, Any]) -> str:
    if subscript := _SUBSCRIPT.fullmatch(path):
        kind, key = subscript.groups()
        return str((pod["metadata"].get(kind) or {}).get(key, ""))
    found: Any = pod
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if found is None or isinstance(found, Mapping | list):
        raise _config_error(f"pod {pod['metadata']['name']}: fieldPath: found {path!r}, which the pod has not")
    return str(found)


def _config_error(message: str) -> NotStartable:
    return NotStartable("CreateContainerConfigError", message)
