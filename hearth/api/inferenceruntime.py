"""InferenceRuntime: how one vendor's accelerator runs one engine. Adding a vendor is adding such a manifest."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from hearth.api.base import ApiModel, ObjectName, Resource, refuse
from hearth.api.quantity import Quantity

PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}")
PLACEHOLDERS = (
    ".Model.Path",
    ".Model.Name",
    ".Service.Name",
    ".Service.Namespace",
    ".Resources.Accelerators",
)


def _known_placeholders(text: str) -> str:
    for name in PLACEHOLDER.findall(text):
        if name not in PLACEHOLDERS:
            allowed = ", ".join(f"{{{{ {known} }}}}" for known in PLACEHOLDERS)
            refuse("", f"{{{{ {name} }}}}", f"unknown placeholder; allowed: {allowed}")
    return text


Template = Annotated[str, AfterValidator(_known_placeholders)]


class EnvVar(ApiModel):
    """A Kubernetes EnvVar."""

    name: str = Field(min_length=1, description="The variable's name.")
    value: Template | None = Field(None, description="Its value; placeholders are substituted as in args.")
    value_from: dict[str, Any] | None = Field(None, description="A Kubernetes EnvVarSource.")


class Port(ApiModel):
    name: str = Field("http", pattern=r"^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$", description="The port's name.")
    container_port: int = Field(8000, ge=1, le=65535, description="Where the engine listens.")


class Container(ApiModel):
    """The engine's container."""

    image: str = Field(min_length=1, description="The engine's image.")
    command: list[Template] = Field(default_factory=list, description="The image's entry point where empty.")
    args: list[Template] = Field(
        default_factory=list,
        description="Arguments, with {{ .Model.Path }}, {{ .Model.Name }}, {{ .Service.Name }}, "
        "{{ .Service.Namespace }} and {{ .Resources.Accelerators }} substituted.",
    )
    env: list[EnvVar] = Field(default_factory=list, description="Environment variables of the engine.")
    port: Port = Field(default_factory=Port, description="The port of the engine's OpenAI endpoint.")


class SharingResources(ApiModel):
    """The extended resources that a fraction of a device is asked for with (such as HAMi's)."""

    memory: str | None = Field(None, description="Resource that counts MiB of device memory.")
    cores: str | None = Field(None, description="Resource that counts percent of a device's compute.")


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

    key: str | None = Field(None, description="The taint's key; none: every key, with operator Exists.")
    operator: Literal["Exists", "Equal", "Lt", "Gt"] | None = Field(None, description="Equal where not given.")
    value: str | None = Field(None, description="The taint's value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="The taint's effect; none: all."
    )
    toleration_seconds: int | None = Field(None, description="How long a NoExecute taint is tolerated.")


class Scheduler(ApiModel):
    name: str = Field(description="The pod's schedulerName.")
    queue: str | None = Field(None, description="Volcano's queue.")


class Accelerator(ApiModel):
    resource_name: str | None = Field(
        None, description="Extended resource of the device plugin, such as nvidia.com/gpu. None: runs on the CPU."
    )
    sharing: Sharing = Field(default_factory=Sharing, description="How a share of a device is asked for.")
    node_selector: dict[str, str] = Field(default_factory=dict, description="Labels of the nodes to run on.")
    tolerations: list[Toleration] = Field(default_factory=list, description="Taints of such nodes to tolerate.")
    runtime_class_name: ObjectName | None = Field(
        None, description="The RuntimeClass that gives devices to containers."
    )
    scheduler: Scheduler | None = Field(None, description="Another scheduler than the cluster's own.")


class RuntimeResources(ApiModel):
    """What a replica asks for where the LLMService does not say."""

    cpu: Quantity | None = Field(None, description="CPU request where the LLMService names none.")
    memory: Quantity | None = Field(None, description="Memory request where the LLMService names none.")


class HttpGet(ApiModel):
    path: str = Field("/", description="What is asked for.")
    port: int | str | None = Field(None, description="The container's port where not given.")
    scheme: Literal["HTTP", "HTTPS"] | None = Field(None, description="HTTP where not given.")


class TcpSocket(ApiModel):
    port: int | str = Field(description="The port to connect to, by number or name.")


class Exec(ApiModel):
    command: list[str] = Field(min_length=1, description="Run in the container; 0 is a success.")


class Probe(ApiModel):
    """A Kubernetes Probe. Seconds."""

    http_get: HttpGet | None = Field(None, description="A GET that answers 200 to 399; of /health where none is given.")
    tcp_socket: TcpSocket | None = Field(None, description="A port that takes connections.")
    exec: Exec | None = Field(None, description="A command that succeeds.")
    initial_delay_seconds: int | None = Field(None, ge=0, description="Seconds before the first look.")
    period_seconds: int | None = Field(None, ge=1, description="Seconds between two looks; Kubernetes: 10.")
    timeout_seconds: int | None = Field(None, ge=1, description="Seconds that an answer may take; Kubernetes: 1.")
    success_threshold: int | None = Field(None, ge=1, description="Successes in a row that count; Kubernetes: 1.")
    failure_threshold: int | None = Field(None, ge=1, description="Failures in a row that count; Kubernetes: 3.")

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
    termination_grace_period_seconds: int = Field(
        30, ge=1, description="Widened where scaling.drainTimeout needs more."
    )
    pre_stop_drain: bool = Field(True, description="Wait for running requests before the engine is told to stop.")


class Metrics(ApiModel):
    """Where the engine's metrics are, and what it calls them."""

    path: str = Field("/metrics", description="Where the engine tells its metrics.")
    port: int | None = Field(None, description="The container's port where not given.")
    queue_depth: str | None = Field(None, description="The metric of requests that wait in the engine.")
    kv_cache_util: str | None = Field(None, description="The metric of the KV cache's use, 0 to 1.")
    running: str | None = Field(None, description="The metric of requests that run; the drain waits until it is 0.")
    ttft: str | None = Field(None, description="The histogram of the time to the first token.")


class InferenceRuntimeSpec(ApiModel):
    family: str = Field(min_length=1, description="vllm, sglang, mindie, llamacpp, or any string.")
    vendor: str = Field(min_length=1, description="Any string: nvidia, ascend, amd, moorethreads, biren, …")
    priority: int = Field(0, description="Higher wins.")
    container: Container
    accelerator: Accelerator = Field(default_factory=Accelerator, description="The device, and the nodes that have it.")
    resources: RuntimeResources = Field(default_factory=RuntimeResources)
    volumes: list[dict[str, Any]] = Field(default_factory=list, description="Kubernetes Volumes.")
    volume_mounts: list[dict[str, Any]] = Field(default_factory=list, description="Kubernetes VolumeMounts.")
    health: Health = Field(default_factory=Health)
    lifecycle: Lifecycle = Field(default_factory=Lifecycle, description="How an engine ends.")
    metrics: Metrics = Field(default_factory=Metrics)

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
