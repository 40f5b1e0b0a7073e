"""InferenceRuntime: how one vendor's accelerator runs one engine. Adding a vendor is adding such a manifest."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from hearth.api.base import (
    MAX_ITEMS,
    MAX_VALUE,
    ApiModel,
    Count,
    FreeForm,
    Int32,
    Labels,
    LabelValue,
    ObjectName,
    PortNumber,
    Positive,
    Resource,
    Value,
    Word,
    cel,
    refuse,
)
from hearth.api.quantity import Quantity
from hearth.api.status import InferenceRuntimeStatus

# Without a brace inside, so that any text is looked through in one pass.
PLACEHOLDER = re.compile(r"\{\{([^{}]*)\}\}")
PLACEHOLDERS = (
    ".Model.Path",
    ".Model.Name",
    ".Service.Name",
    ".Service.Namespace",
    ".Resources.Accelerators",
)


def _known_placeholders(text: str) -> str:
    allowed = ", ".join(f"{{{{ {known} }}}}" for known in PLACEHOLDERS)
    for name in map(str.strip, PLACEHOLDER.findall(text)):
        if name not in PLACEHOLDERS:
            refuse("", f"{{{{ {name} }}}}", f"unknown placeholder; allowed: {allowed}")
    if (begins := PLACEHOLDER.sub("", text).find("{{")) >= 0:
        found = PLACEHOLDER.sub("", text)[begins : begins + 40]
        refuse("", found, f"a placeholder that does not end, or braces in one; allowed: {allowed}")
    return text


Template = Annotated[str, Field(max_length=MAX_VALUE), AfterValidator(_known_placeholders)]
PortRef = Annotated[int, Field(ge=1, le=65535)] | Annotated[str, Field(max_length=63)]
"""A port by number or name."""


class EnvVar(ApiModel):
    """A Kubernetes EnvVar."""

    name: str = Field(min_length=1, max_length=256, description="The variable's name.")
    value: Template | None = Field(None, description="Its value; placeholders are substituted as in args.")
    value_from: FreeForm | None = Field(None, description="A Kubernetes EnvVarSource.")


class Port(ApiModel):
    name: str = Field(
        "http", max_length=15, pattern=r"^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$", description="The port's name."
    )
    container_port: PortNumber = Field(8000, description="Where the engine listens.")


class Container(ApiModel):
    """The engine's container."""

    image: str = Field(min_length=1, max_length=1024, description="The engine's image.")
    command: list[Template] = Field(
        default_factory=list, max_length=MAX_ITEMS, description="The image's entry point where empty."
    )
    args: list[Template] = Field(
        default_factory=list,
        max_length=MAX_ITEMS,
        description="Arguments, with {{ .Model.Path }}, {{ .Model.Name }}, {{ .Service.Name }}, "
        "{{ .Service.Namespace }} and {{ .Resources.Accelerators }} substituted.",
    )
    env: list[EnvVar] = Field(
        default_factory=list, max_length=MAX_ITEMS, description="Environment variables of the engine."
    )
    port: Port = Field(default_factory=Port, description="The port of the engine's OpenAI endpoint.")


class SharingResources(ApiModel):
    """The extended resources that a fraction of a device is asked for with (such as HAMi's)."""

    memory: Word | None = Field(None, description="Resource that counts MiB of device memory.")
    cores: Word | None = Field(None, description="Resource that counts percent of a device's compute.")


class Sharing(ApiModel):
    supported: bool = Field(False, description="Whether spec.resources.fraction may be asked for.")
    resource_names: SharingResources = Field(default_factory=SharingResources)

    @model_validator(mode="after")
    def _named(self) -> Self:
        names = self.resource_names
        if self.supported and names.memory is None and names.cores is None:
            refuse("resourceNames", {}, "sharing needs resourceNames.memory, resourceNames.cores or both")
        return self


class Toleration(ApiModel):
    """A Kubernetes Toleration."""

    key: Word | None = Field(None, description="The taint's key; none: every key, with operator Exists.")
    operator: Literal["Exists", "Equal", "Lt", "Gt"] | None = Field(None, description="Equal where not given.")
    value: LabelValue | None = Field(None, description="The taint's value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="The taint's effect; none: all."
    )
    toleration_seconds: Int32 | None = Field(None, description="How long a NoExecute taint is tolerated.")


class Scheduler(ApiModel):
    name: Word = Field(description="The pod's schedulerName.")
    queue: Word | None = Field(None, description="Volcano's queue.")


class ResourceClaim(ApiModel):
    """A Kubernetes PodResourceClaim, which the engine's container gets."""

    model_config = cel(
        (
            "has(self.resourceClaimName) != has(self.resourceClaimTemplateName)",
            "give exactly one of resourceClaimName and resourceClaimTemplateName",
        )
    )

    name: str = Field(
        max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", description="What the pod calls the claim."
    )
    resource_claim_name: ObjectName | None = Field(
        None, description="A ResourceClaim in the LLMService's namespace, which all replicas share."
    )
    resource_claim_template_name: ObjectName | None = Field(
        None, description="A ResourceClaimTemplate in the LLMService's namespace, of which each replica gets a claim."
    )
    request: str | None = Field(None, max_length=63, description="One request of the claim; all where not given.")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.resource_claim_name is None) == (self.resource_claim_template_name is None):
            found = "both" if self.resource_claim_name else "neither"
            refuse("", found, "give exactly one of resourceClaimName and resourceClaimTemplateName")
        return self


class Accelerator(ApiModel):
    """The device. `resources` are the extended resources that it goes by, in the order in which they are tried."""

    model_config = cel(
        (
            "!has(self.resourceName) || !has(self.resourceNames) || self.resourceNames.size() == 0",
            "resourceNames: give either resourceName or resourceNames",
        )
    )

    resource_name: Word | None = Field(
        None, description="Extended resource of the device plugin, such as nvidia.com/gpu. None: runs on the CPU."
    )
    resource_names: list[Word] = Field(
        default_factory=list,
        max_length=16,
        description="Instead of resourceName, where a vendor has several plugins: the first that nodes have is asked "
        "for.",
    )
    allowed_counts: list[Annotated[int, Field(ge=0, le=64)]] = Field(
        default_factory=list,
        max_length=65,
        description="What spec.resources.accelerators of an LLMService may be, such as 1, 2, 4 and 8; any where empty.",
    )
    resource_claims: list[ResourceClaim] = Field(
        default_factory=list,
        max_length=8,
        description="Claims of devices (dynamic resource allocation). How many devices an engine gets stands in the "
        "claim; spec.resources.accelerators of an LLMService must be the same, since it goes into the arguments.",
    )
    sharing: Sharing = Field(default_factory=Sharing, description="How a share of a device is asked for.")
    node_selector: Labels = Field(default_factory=dict, description="Labels of the nodes to run on.")
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=64, description="Taints of such nodes to tolerate."
    )
    runtime_class_name: ObjectName | None = Field(
        None, description="The RuntimeClass that gives devices to containers."
    )
    scheduler: Scheduler | None = Field(None, description="Another scheduler than the cluster's own.")

    @property
    def resources(self) -> tuple[str, ...]:
        return (self.resource_name,) if self.resource_name is not None else tuple(self.resource_names)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if self.resource_name is not None and self.resource_names:
            refuse("resourceNames", self.resource_names, "give either resourceName or resourceNames")
        return self


class RuntimeResources(ApiModel):
    """What a replica asks for where the LLMService does not say."""

    cpu: Quantity | None = Field(None, description="CPU request where the LLMService names none.")
    memory: Quantity | None = Field(None, description="Memory request where the LLMService names none.")


class HttpGet(ApiModel):
    path: str = Field("/", max_length=1024, description="What is asked for.")
    port: PortRef | None = Field(None, description="The container's port where not given.")
    scheme: Literal["HTTP", "HTTPS"] | None = Field(None, description="HTTP where not given.")


class TcpSocket(ApiModel):
    port: PortRef = Field(description="The port to connect to, by number or name.")


class Exec(ApiModel):
    command: list[Value] = Field(
        min_length=1, max_length=MAX_ITEMS, description="Run in the container; 0 is a success."
    )


class Probe(ApiModel):
    """A Kubernetes Probe. Seconds."""

    http_get: HttpGet | None = Field(None, description="A GET that answers 200 to 399; of /health where none is given.")
    tcp_socket: TcpSocket | None = Field(None, description="A port that takes connections.")
    exec: Exec | None = Field(None, description="A command that succeeds.")
    initial_delay_seconds: Count | None = Field(None, description="Seconds before the first look.")
    period_seconds: Positive | None = Field(None, description="Seconds between two looks; Kubernetes: 10.")
    timeout_seconds: Positive | None = Field(None, description="Seconds that an answer may take; Kubernetes: 1.")
    success_threshold: Positive | None = Field(None, description="Successes in a row that count; Kubernetes: 1.")
    failure_threshold: Positive | None = Field(None, description="Failures in a row that count; Kubernetes: 3.")

    @model_validator(mode="after")
    def _one_handler(self) -> Self:
        handlers = [name for name in ("http_get", "tcp_socket", "exec") if getattr(self, name) is not None]
        if len(handlers) > 1:
            refuse("", ", ".join(handlers), "give one of httpGet, tcpSocket and exec")
        return self


class Health(ApiModel):
    """Probes of the engine; without a handler they GET /health."""

    # Ready is looked at each second, since a held request waits for it; vLLM's /health costs it next to nothing.
    readiness: Probe = Field(default_factory=lambda: Probe(period_seconds=1, timeout_seconds=2, failure_threshold=3))
    liveness: Probe = Field(default_factory=lambda: Probe(period_seconds=10, timeout_seconds=5, failure_threshold=6))
    # 600 looks, one a second: large models take minutes.
    startup: Probe = Field(default_factory=lambda: Probe(period_seconds=1, timeout_seconds=2, failure_threshold=600))


class Lifecycle(ApiModel):
    termination_grace_period_seconds: Positive = Field(30, description="Widened where scaling.drainTimeout needs more.")
    pre_stop_drain: bool = Field(True, description="Wait for running requests before the engine is told to stop.")


class Metrics(ApiModel):
    """Where the engine's metrics are, and what it calls them."""

    path: str = Field("/metrics", max_length=1024, description="Where the engine tells its metrics.")
    port: PortNumber | None = Field(None, description="The container's port where not given.")
    queue_depth: Word | None = Field(None, description="The metric of requests that wait in the engine.")
    kv_cache_util: Word | None = Field(None, description="The metric of the KV cache's use, 0 to 1.")
    running: Word | None = Field(None, description="The metric of requests that run; the drain waits until it is 0.")
    ttft: Word | None = Field(None, description="The histogram of the time to the first token.")


MAX_PATHS = 32

EnginePath = Annotated[str, Field(min_length=2, max_length=128, pattern=r"^(/[A-Za-z0-9_-]+)+$")]


class InferenceRuntimeSpec(ApiModel):
    family: str = Field(min_length=1, max_length=63, description="vllm, sglang, mindie, llamacpp, or any string.")
    vendor: str = Field(
        min_length=1, max_length=63, description="Any string: nvidia, ascend, amd, moorethreads, biren, …"
    )
    priority: Int32 = Field(0, description="Higher wins.")
    container: Container
    accelerator: Accelerator = Field(default_factory=Accelerator, description="The device, and the nodes that have it.")
    resources: RuntimeResources = Field(default_factory=RuntimeResources)
    volumes: list[FreeForm] = Field(default_factory=list, max_length=64, description="Kubernetes Volumes.")
    volume_mounts: list[FreeForm] = Field(default_factory=list, max_length=64, description="Kubernetes VolumeMounts.")
    health: Health = Field(default_factory=Health)
    lifecycle: Lifecycle = Field(default_factory=Lifecycle, description="How an engine ends.")
    metrics: Metrics = Field(default_factory=Metrics)
    paths: list[EnginePath] = Field(
        default_factory=list,
        max_length=MAX_PATHS,
        description="Paths of the engine that clients may POST to, beside those of OpenAI's and Anthropic's inference.",
    )

    @model_validator(mode="after")
    def _mounts_have_volumes(self) -> Self:
        names = {str(volume.get("name")) for volume in self.volumes}
        for index, mount in enumerate(self.volume_mounts):
            if str(mount.get("name")) not in names:
                refuse(f"volumeMounts[{index}].name", mount.get("name"), "expected the name of one of spec.volumes")
        return self


class InferenceRuntime(Resource):
    """One engine on one vendor's accelerator. Cluster-scoped."""

    kind: Literal["InferenceRuntime"] = "InferenceRuntime"
    spec: InferenceRuntimeSpec
    status: InferenceRuntimeStatus | None = None
