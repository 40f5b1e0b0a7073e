"""`spec.template` of LLMService and InferenceRuntime: what of a pod people set. Kubernetes' names and shapes.

What is merged with what is crd_translator/template.py's. What Hearth relies upon is refused here by name.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from hearth.api.base import (
    MAX_ITEMS,
    ApiModel,
    FreeForm,
    Labels,
    LabelValue,
    ObjectName,
    Value,
    Word,
    bounded,
    cel,
    refuse,
)
from hearth.api.labels import COMPONENT_LABEL
from hearth.api.quantity import Quantity
from hearth.group import GROUP

ENGINE: Final = "engine"
"""The engine's container."""
ENGINE_PORT_ENV: Final = "HEARTH_ENGINE_PORT"
WAIT: Final = "wait-for-model"
"""The init container that waits for a prewarm."""
DOWNLOAD: Final = "download"
"""The prewarm's container."""
SOURCE_PATH: Final = "/models/source"
CACHE_PATH: Final = "/models/cache"

OWN_LABELS: Final = ("app.kubernetes.io/name", "app.kubernetes.io/managed-by", COMPONENT_LABEL, "pod-template-hash")
_OWN_PREFIX: Final = f"{GROUP}/"
_OWN_VOLUMES: Final = ("source", "cache")
_OWN_CONTAINERS: Final = (WAIT, DOWNLOAD)
_OWN_INIT: Final = (ENGINE, *_OWN_CONTAINERS)
# The ways to /models/source and /models/cache, to what is in them, and to what would hide them or /dev/shm, however
# they are spelled; and any way with `..`. At most 88 characters: the API server bounds what a rule may cost.
_OWN_PATHS: Final = "^([./]*/)?((dev|models)?[./]*|models/([./]*/)?(source|cache)(/.*)?)$|(^|/)[.]{2}(/|$)"
_MAX_CONTAINERS: Final = 16

# Of the engine's container: where each of the fields that Hearth writes itself comes from.
_OF_ENGINE: Final = {
    "image": "the InferenceRuntime's spec.container names it",
    "command": "the InferenceRuntime's spec.container names it",
    "args": "give them in the InferenceRuntime's spec.container or in spec.runtime.argsOverride",
    "ports": "the InferenceRuntime's spec.container.port names it",
    "lifecycle": "Hearth drains by it; see scaling.drainTimeout and the InferenceRuntime's spec.lifecycle",
    "startupProbe": "the InferenceRuntime's spec.health names it",
    "readinessProbe": "the InferenceRuntime's spec.health names it",
    "livenessProbe": "the InferenceRuntime's spec.health names it",
    "restartPolicy": "an engine is restarted always",
}


def _words(names: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"


def rule(expression: str, message: str) -> dict[str, JsonValue]:
    """A rule of the CRD's schema, in CEL, and what is said where it does not hold."""
    return {"x-kubernetes-validations": [{"rule": expression, "message": message}]}


_LABELS_ALLOWED = f"Hearth owns {', '.join(OWN_LABELS)} and {_OWN_PREFIX}…; choose another label"
_ANNOTATIONS_ALLOWED = f"Hearth owns {_OWN_PREFIX}…; choose another annotation"
_VOLUMES_ALLOWED = f"Hearth owns the volumes {', '.join(_OWN_VOLUMES)}; choose another name"
PATHS_ALLOWED = (
    f"Hearth mounts {SOURCE_PATH}, {CACHE_PATH} and /dev/shm; choose a path that is not above them or in a model's"
)
ENV_ALLOWED = f"Hearth sets {ENGINE_PORT_ENV}; choose another name"
_CONTAINERS_ALLOWED = f"Hearth owns the names {', '.join(_OWN_CONTAINERS)}; choose another one"
_INIT_ALLOWED = f"Hearth owns the names {', '.join(_OWN_INIT)}; choose another one"


def listed(key: str) -> dict[str, JsonValue]:
    """A list whose items are told apart by a field, as Kubernetes has it: no two are of one."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def once(path: str, field: str, keys: Sequence[str]) -> None:
    """Refuse a list that names a key twice: the last one would win, unsaid. Raises PydanticCustomError."""
    for index, key in enumerate(keys):
        if key in keys[:index]:
            refuse(f"{path}[{index}].{field}", key, "expected each one once")


OWN_PATHS_RULE: Final = rule(f"!self.matches('{_OWN_PATHS}')", PATHS_ALLOWED)
"""What a mountPath must not be, as the API server checks it."""


def check_mount_path(path: str) -> None:
    """Refuse a mountPath that takes what Hearth mounts away from the engine. Raises PydanticCustomError."""
    if re.search(_OWN_PATHS, path):
        refuse("mountPath", path, PATHS_ALLOWED)


class Passed(ApiModel):
    """A named part of a pod that is passed on as it is: Kubernetes checks what is in it."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})

    @model_validator(mode="before")
    @classmethod
    def _bounds(cls, value: Any) -> Any:
        return bounded(value) if isinstance(value, dict) else value


class Volume(Passed):
    """A Kubernetes Volume."""

    name: str = Field(max_length=63, description="The volume's name; one of the same name is replaced.")


class VolumeMount(Passed):
    """A Kubernetes VolumeMount."""

    name: str = Field(max_length=63, description="The volume's name.")
    mount_path: str = Field(
        max_length=1024,
        description="Where the container sees it; a mount of the same path is replaced.",
        json_schema_extra=OWN_PATHS_RULE,
    )

    @model_validator(mode="after")
    def _not_ours(self) -> Self:
        check_mount_path(self.mount_path)
        return self


class TemplateEnvVar(Passed):
    """A Kubernetes EnvVar."""

    name: str = Field(
        min_length=1,
        max_length=256,
        description="The variable's name; one of the same name is replaced.",
        json_schema_extra=rule(f"self != '{ENGINE_PORT_ENV}'", ENV_ALLOWED),
    )
    value: Value | None = Field(None, description="Its value; $(NAME) is replaced by Kubernetes.")
    value_from: FreeForm | None = Field(None, description="A Kubernetes EnvVarSource.")

    @model_validator(mode="after")
    def _not_ours(self) -> Self:
        if self.name == ENGINE_PORT_ENV:
            refuse("name", self.name, ENV_ALLOWED)
        return self


Quantities = Annotated[dict[Word, Quantity], Field(max_length=64)]


class ContainerResources(ApiModel):
    """A container's ResourceRequirements."""

    requests: Quantities | None = Field(None, description="What the scheduler keeps free for it.")
    limits: Quantities | None = Field(
        None, description="What it may use. The engine's memory: its request, unless said here."
    )
    claims: list[FreeForm] | None = Field(None, max_length=64, description="Kubernetes ResourceClaims, by name.")


class TemplateContainer(ApiModel):
    """A Kubernetes Container: the engine's, by the name `engine`, or another one beside it."""

    model_config = cel(
        *(
            (f"self.name != '{ENGINE}' || !has(self.{field})", f"{field}: found it on container {ENGINE}; {where}")
            for field, where in _OF_ENGINE.items()
        )
    )

    name: str = Field(
        min_length=1, max_length=63, description="`engine` is the engine's; it takes env to securityContext of these."
    )
    env: list[TemplateEnvVar] | None = Field(
        None, max_length=MAX_ITEMS, description="Environment, merged by name.", json_schema_extra=listed("name")
    )
    env_from: list[FreeForm] | None = Field(None, max_length=64, description="Kubernetes EnvFromSources, added.")
    resources: ContainerResources | None = Field(None, description="Requests and limits, merged by name.")
    volume_mounts: list[VolumeMount] | None = Field(
        None,
        max_length=64,
        description="Mounts, merged by mountPath, of volumes of the pod.",
        json_schema_extra=listed("mountPath"),
    )
    security_context: FreeForm | None = Field(
        None, description="A SecurityContext, merged: by default no privilege escalation and no capability."
    )
    image: str | None = Field(None, max_length=1024, description="Its image.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(None, description="When to pull.")
    command: list[Value] | None = Field(None, max_length=MAX_ITEMS, description="The image's entry point where empty.")
    args: list[Value] | None = Field(None, max_length=MAX_ITEMS, description="Arguments.")
    working_dir: str | None = Field(None, max_length=1024, description="The folder that it begins in.")
    ports: list[FreeForm] | None = Field(None, max_length=64, description="Kubernetes ContainerPorts.")
    startup_probe: FreeForm | None = Field(None, description="A Kubernetes Probe.")
    readiness_probe: FreeForm | None = Field(None, description="A Kubernetes Probe.")
    liveness_probe: FreeForm | None = Field(None, description="A Kubernetes Probe.")
    lifecycle: FreeForm | None = Field(None, description="A Kubernetes Lifecycle.")
    restart_policy: Literal["Always"] | None = Field(None, description="Always makes a sidecar of an init container.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        once("env", "name", [variable.name for variable in self.env or ()])
        once("volumeMounts", "mountPath", [mount.mount_path for mount in self.volume_mounts or ()])
        return self

    @model_validator(mode="after")
    def _engine_is_ours(self) -> Self:
        if self.name == ENGINE:
            for name, field in type(self).model_fields.items():
                if getattr(self, name) is not None and (where := _OF_ENGINE.get(field.alias or name)):
                    refuse(field.alias or name, f"it on container {ENGINE}", where)
        return self


class TemplateSpec(ApiModel):
    """What of a PodSpec is taken."""

    node_selector: Labels | None = Field(None, description="Labels of the nodes to run on, merged by key.")
    affinity: FreeForm | None = Field(None, description="A Kubernetes Affinity, merged by field; lists are replaced.")
    tolerations: list[FreeForm] | None = Field(None, max_length=64, description="Kubernetes Tolerations, added.")
    topology_spread_constraints: list[FreeForm] | None = Field(
        None, max_length=16, description="Kubernetes TopologySpreadConstraints of engines, added."
    )
    priority_class_name: ObjectName | None = Field(None, description="The pods' PriorityClass.")
    service_account_name: ObjectName | None = Field(None, description="The pods' account, such as a cloud's role.")
    automount_service_account_token: bool | None = Field(
        None, description="Whether containers get the account's token; false where not given."
    )
    security_context: FreeForm | None = Field(
        None,
        description="A PodSecurityContext, merged: by default seccompProfile RuntimeDefault. Give runAsNonRoot, "
        "runAsUser and fsGroup where the engine's image can run so.",
    )
    volumes: list[Volume] | None = Field(
        None,
        max_length=64,
        description="Kubernetes Volumes, merged by name; `shm` is /dev/shm.",
        json_schema_extra={
            **listed("name"),
            **rule(f"self.all(v, !(v.name in {_words(_OWN_VOLUMES)}))", _VOLUMES_ALLOWED),
        },
    )
    init_containers: list[TemplateContainer] | None = Field(
        None,
        max_length=_MAX_CONTAINERS,
        description="Containers that run first, in engines and in the prewarm Job, merged by name.",
        json_schema_extra={
            **listed("name"),
            **rule(f"self.all(c, !(c.name in {_words(_OWN_INIT)}))", _INIT_ALLOWED),
        },
    )
    containers: list[TemplateContainer] | None = Field(
        None,
        max_length=_MAX_CONTAINERS,
        description="The engine's container and sidecars of engines, merged by name.",
        json_schema_extra={
            **listed("name"),
            **rule(f"self.all(c, !(c.name in {_words(_OWN_CONTAINERS)}))", _CONTAINERS_ALLOWED),
        },
    )

    @model_validator(mode="after")
    def _not_ours(self) -> Self:
        for index, volume in enumerate(self.volumes or ()):
            if volume.name in _OWN_VOLUMES:
                refuse(f"volumes[{index}].name", volume.name, _VOLUMES_ALLOWED)
        for index, container in enumerate(self.init_containers or ()):
            if container.name in _OWN_INIT:
                refuse(f"initContainers[{index}].name", container.name, _INIT_ALLOWED)
        for index, container in enumerate(self.containers or ()):
            if container.name in _OWN_CONTAINERS:
                refuse(f"containers[{index}].name", container.name, _CONTAINERS_ALLOWED)
        once("volumes", "name", [volume.name for volume in self.volumes or ()])
        once("initContainers", "name", [container.name for container in self.init_containers or ()])
        once("containers", "name", [container.name for container in self.containers or ()])
        return self


class TemplateMeta(ApiModel):
    """Labels and annotations of pods."""

    labels: Annotated[dict[Word, LabelValue], Field(max_length=64)] | None = Field(
        None,
        description="Labels of the pods, merged by key.",
        json_schema_extra=rule(
            f"self.all(k, !k.startsWith('{_OWN_PREFIX}') && !(k in {_words(OWN_LABELS)}))", _LABELS_ALLOWED
        ),
    )
    annotations: Annotated[dict[Word, Value], Field(max_length=64)] | None = Field(
        None,
        description="Annotations of the pods, merged by key.",
        json_schema_extra=rule(f"self.all(k, !k.startsWith('{_OWN_PREFIX}'))", _ANNOTATIONS_ALLOWED),
    )

    @model_validator(mode="after")
    def _not_ours(self) -> Self:
        for key in self.labels or ():
            if key.startswith(_OWN_PREFIX) or key in OWN_LABELS:
                refuse("labels", key, _LABELS_ALLOWED)
        for key in self.annotations or ():
            if key.startswith(_OWN_PREFIX):
                refuse("annotations", key, _ANNOTATIONS_ALLOWED)
        return self


class PodTemplate(ApiModel):
    """What pods get beyond what Hearth gives them: the InferenceRuntime's first, then the LLMService's."""

    metadata: TemplateMeta | None = Field(None)
    spec: TemplateSpec | None = Field(None)

    def to_patch(self) -> dict[str, Any]:
        """What was said, and nothing else, as plain data."""
        return self.model_dump(by_alias=True, exclude_none=True)
