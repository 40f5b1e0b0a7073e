"""Why an LLMService is as it is: the reasons of its conditions, and for each whether somebody has to act, and how.

One table: Events' types, what `hearth status` and `hearth doctor` call well, the REASON of `kubectl get`, what a client
is told whose request found no replica, and docs/install.md's table come from it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

ReasonName = Literal[
    "Invalid",
    "NameTaken",
    "Refused",
    "KeysNotAllowed",
    "KeysNotFound",
    "RuntimeNotFound",
    "NoRuntimeForVendor",
    "RuntimeInvalid",
    "SharingNotSupported",
    "CountNotAllowed",
    "ScaledByOthers",
    "SourceNotSupported",
    "PrewarmNotSupported",
    "TemplateRefused",
    "AmbiguousPriority",
    "KedaNotInstalled",
    "KedaNotRunning",
    "ScalingPaused",
    "SecretNotFound",
    "ScaledObjectCheckFailed",
    "ScaledObjectIgnored",
    "MetricLost",
    "ScaledObjectNotReady",
    "PodNotCreated",
    "OOMKilled",
    "EngineCrashing",
    "ContainerCrashing",
    "ContainerNotCreated",
    "ImageNotPulled",
    "ChangedBack",
    "RollingOut",
    "UpToDate",
    "VolumeNotMounted",
    "SandboxNotCreated",
    "Unschedulable",
    "NodeLost",
    "ProgressDeadlineExceeded",
    "PodFailed",
    "HPANotScaling",
    "PrewarmFailed",
    "Downloading",
    "Cached",
    "KeysUnreadable",
    "KeysNotSeen",
    "KeysFound",
    "PredecessorLeaving",
    "FinalizersKept",
    "NotSeen",
    "Pending",
    "ColdStart",
    "ScaledToZero",
    "SomeReplicasReady",
    "ReplicasReady",
    "ScaledObjectReady",
    "Resolved",
    "AsWanted",
]


@dataclass(frozen=True, slots=True)
class Reason:
    """`act`: somebody has to do something, and `todo` says what, as docs/install.md has it; else `todo` is empty.

    `client` is for the clients of a model that has no replica for this reason, after "LLMService X had no replica": it
    names nothing of the cluster. `stalled`: time mends nothing, and who waits for the LLMService may give up.
    """

    name: ReasonName
    act: bool
    todo: str = ""
    client: str = ""
    stalled: bool = False


_FITS = "apply an InferenceRuntime that fits, or change `spec.runtime`"
_NO_RUNTIME = "no InferenceRuntime can serve it"
_LOG = "the container's log; the message has the command"
_NO_KEDA = "nothing is there to start one"

# What is in the way of most comes first: of several that are true at once, the first is the reason of Ready.
_ROWS = (
    Reason("Invalid", True, "the message names the field and what it may be", "its spec is not valid", stalled=True),
    Reason(
        "NameTaken",
        True,
        "an object of that name is there and is not this LLMService's: rename the LLMService, or remove the object; "
        "Hearth writes nothing until then and looks every 10 s",
        "a name that it needs is taken",
        stalled=True,
    ),
    Reason(
        "Refused",
        True,
        "what the API server said; mostly a quota, an admission rule or a right that is not there",
        "the cluster refused a part of it",
    ),
    Reason(
        "KeysNotAllowed",
        True,
        "activators may not read the Secret of its API keys: give it a name that they may, or have the admin add this "
        "one ([how-to/api-keys.md](how-to/api-keys.md)); no request is let in until then",
        "its API keys can't be read",
    ),
    Reason(
        "KeysNotFound",
        True,
        "the message has the command that makes the Secret of its API keys; no request is let in until then",
        "its API keys can't be read",
    ),
    Reason("RuntimeNotFound", True, _FITS, _NO_RUNTIME),
    Reason("NoRuntimeForVendor", True, _FITS, _NO_RUNTIME),
    Reason("SharingNotSupported", True, _FITS, _NO_RUNTIME),
    Reason(
        "SourceNotSupported",
        True,
        "choose a runtime whose engine can load such a source, or another source",
        "its engine can't load its model",
    ),
    Reason(
        "RuntimeInvalid",
        True,
        "the message has what is wrong with the InferenceRuntime, which `kubectl describe infr` tells too; what runs "
        "stays as it is until that is mended",
        _NO_RUNTIME,
    ),
    Reason(
        "CountNotAllowed",
        True,
        "`spec.resources.accelerators`: one of the counts that the runtime's devices have",
        _NO_RUNTIME,
    ),
    Reason(
        "PrewarmNotSupported",
        True,
        "give the InferenceRuntime `spec.prewarm` (an image and a command), or set `spec.cache.prewarm` to false",
        "its engine can't load its model",
    ),
    Reason(
        "TemplateRefused",
        True,
        "the message names the field of `spec.template` that Hearth relies upon",
        "its pod template is refused",
    ),
    Reason("AmbiguousPriority", True, "give one of the two InferenceRuntimes a higher `spec.priority`", _NO_RUNTIME),
    Reason("KedaNotInstalled", True, "install KEDA; Hearth looks every 10 s", _NO_KEDA),
    Reason(
        "KedaNotRunning",
        True,
        "start KEDA's operator: it renews its Lease `operator.keda.sh` no more, and starts and stops nothing",
        _NO_KEDA,
    ),
    Reason(
        "ScaledByOthers",
        True,
        "the message names a ScaledObject or HPA that scales the engine's Deployment too, or has the name of KEDA's "
        "HPA: delete it, two scalers fight",
    ),
    Reason(
        "ScalingPaused",
        True,
        "an annotation of the ScaledObject pauses KEDA; the message has the command that removes it",
        "its scaling is paused",
    ),
    Reason(
        "SecretNotFound",
        True,
        "the message has the command that makes the Secret; Hearth makes KEDA look again every 15 s",
        "a Secret that it needs is missing",
    ),
    Reason(
        "ScaledObjectCheckFailed",
        True,
        "KEDA's words: mostly its operator can't reach the scaler",
        "KEDA refuses to scale it",
    ),
    Reason(
        "ScaledObjectIgnored",
        True,
        "KEDA has said nothing for a minute: is its operator running, and does it watch this namespace?",
        _NO_KEDA,
    ),
    Reason(
        "MetricLost",
        True,
        "kedacore/keda#8168: Hearth changes the ScaledObject every 15 s until KEDA has the metric again; if it stays, "
        "restart KEDA's operator",
        "KEDA does not hear its demand",
    ),
    Reason("ScaledObjectNotReady", True, "KEDA's reason and words", "KEDA can't scale it"),
    Reason(
        "PodNotCreated",
        True,
        "the API server's words: a ResourceQuota, a LimitRange, Pod Security or an admission webhook refuses the pod",
        "its pod is refused by the cluster",
    ),
    Reason(
        "OOMKilled",
        True,
        "raise `spec.resources.memory`, or give the engine less to hold (its context, its cache)",
        "its engine ran out of memory",
    ),
    Reason("EngineCrashing", True, _LOG, "its engine keeps exiting"),
    Reason("ContainerCrashing", True, _LOG, "a container beside its engine keeps exiting"),
    Reason(
        "ContainerNotCreated",
        True,
        "the kubelet's words: mostly a Secret that is not there",
        "its container can't be made",
    ),
    Reason(
        "ImageNotPulled",
        True,
        "the kubelet's words: the image's name, or `spec.imagePullSecrets`",
        "its image can't be pulled",
    ),
    Reason(
        "VolumeNotMounted",
        True,
        "the kubelet's words: a volume, a Secret or a ConfigMap that is not there, or a disk that another node holds",
        "a volume of it can't be mounted",
    ),
    Reason(
        "SandboxNotCreated",
        True,
        "the kubelet's words: the pod network, or the runtime class of the InferenceRuntime",
        "its pod can't be made on its node",
    ),
    Reason(
        "Unschedulable",
        True,
        "the scheduler's words: devices, taints, a claim (the message has the command that frees it); or a node that "
        "your autoscaler is adding",
        "no node can take it",
    ),
    Reason("NodeLost", True, "the node's kubelet is silent: bring the node back, or delete it", "its node is lost"),
    Reason(
        "ProgressDeadlineExceeded",
        True,
        "no replica has become ready for as long as the Deployment allows; the pods and their logs say why",
        "it did not become ready in time",
    ),
    Reason(
        "PodFailed",
        True,
        "the kubelet's words: evicted, or ended with its node; Kubernetes has made a successor",
        "its pod was ended",
    ),
    Reason(
        "HPANotScaling",
        True,
        "the HPA's words; replicas beyond the first do not come and go: `hearth doctor`",
    ),
    Reason(
        "KeysUnreadable",
        True,
        "the message has the lines of its API keys that can't be read; the other keys are good",
    ),
    Reason(
        "FinalizersKept",
        True,
        "an object of that name is being deleted and waits for the finalizers that the message names: whoever set them "
        "must be running to take them off (finalizer.keda.sh is KEDA's operator's; kubernetes.io/pvc-protection goes "
        "with the last pod that mounts the claim)",
        "what stands in its place is still being deleted",
    ),
    Reason(
        "ChangedBack",
        True,
        "somebody else writes what Hearth applies: the message names the object, the field and, where it is known, the "
        "field manager. Stop that one: a GitOps tool that has the object too, a second Hearth, a webhook",
    ),
    Reason("KeysNotSeen", False),
    Reason("KeysFound", False),
    Reason("PredecessorLeaving", False),
    Reason("NotSeen", False),
    Reason("RollingOut", False),
    Reason("UpToDate", False),
    Reason(
        "PrewarmFailed",
        True,
        "the download's own words; engines on a SharedPVC wait two minutes for one that nobody is at, then download "
        "themselves",
    ),
    Reason("Downloading", False),
    Reason("Cached", False),
    Reason("Pending", False),
    Reason("ColdStart", False),
    Reason("ScaledToZero", False),
    Reason("SomeReplicasReady", False),  # PodsHealthy says why
    Reason("ReplicasReady", False),
    Reason("ScaledObjectReady", False),
    Reason("Resolved", False),
    Reason("AsWanted", False),
)

REASONS: dict[str, Reason] = {row.name: row for row in _ROWS}
_PLACES: dict[str, int] = {name: number for number, name in enumerate(REASONS)}


def must_act(status: str, reason: str) -> bool:
    """Whether a condition with this status and reason asks somebody to do something. A reason that is not in the table
    is a newer controller's: rather told than hidden."""
    row = REASONS.get(reason)
    return status == "False" and (row is None or row.act)


def place(reason: str) -> int:
    """Where a reason stands among several that are true at once; the lowest is told first."""
    return _PLACES.get(reason, len(_PLACES))


def troubles(conditions: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(reason, message) of the conditions of an LLMService on which somebody has to act, each reason once."""
    found: dict[str, str] = {}
    for condition in conditions:
        reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
        if must_act(str(condition.get("status") or ""), reason):
            found.setdefault(reason, message)
    return sorted(found.items(), key=lambda pair: place(pair[0]))


def told_to_clients(conditions: Iterable[Mapping[str, Any]]) -> str | None:
    """Why an LLMService has no replica and gets none unless somebody acts, in words for its clients; None where
    nothing is in the way."""
    for condition in conditions:
        if condition.get("type") == "Ready" and must_act(
            str(condition.get("status") or ""), reason := str(condition.get("reason") or "")
        ):
            row = REASONS.get(reason)
            return (row.client if row is not None else "") or f"its status says {reason}"
    return None


def reasons_table() -> str:
    """The table of docs/install.md, in Markdown: a row for each thing to do."""
    by_todo: dict[str, list[str]] = {}
    for row in _ROWS:
        if row.act:
            by_todo.setdefault(row.todo, []).append(f"`{row.name}`")
    rows = [f"| {', '.join(names)} | {todo} |" for todo, names in by_todo.items()]
    return "\n".join(["| reason | what to do |", "|---|---|", *rows])
