"""Why an LLMService is as it is: the reasons of its conditions, and for each whether somebody has to act, and how.

One table: Events' types, what `hearth status` and `hearth doctor` call well, and docs/install.md's table come from it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

ReasonName = Literal[
    "Invalid",
    "Refused",
    "NameTaken",
    "PredecessorLeaving",
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
    "Resolved",
    "RuntimeNotResolved",
    "KedaNotInstalled",
    "NotSeen",
    "SecretNotFound",
    "ScaledObjectCheckFailed",
    "ScaledObjectNotReady",
    "ScaledObjectReady",
    "NotScaled",
    "Unschedulable",
    "ContainerNotCreated",
    "ImageNotPulled",
    "EngineCrashing",
    "RollingOut",
    "UpToDate",
    "Pending",
    "NoDemand",
    "ColdStart",
    "ReplicasReady",
]


@dataclass(frozen=True, slots=True)
class Reason:
    """`act`: somebody has to do something, and `todo` says what, as docs/install.md has it; else `todo` is empty."""

    name: ReasonName
    act: bool
    todo: str = ""


_FITS = "apply an InferenceRuntime that fits, or change `spec.runtime`"

_ROWS = (
    Reason("Invalid", True, "the message names the field and what it may be"),
    Reason("Refused", True, "what the API server said; mostly a quota, an admission rule or a right that is not there"),
    Reason(
        "NameTaken",
        True,
        "an object of that name is there and is not this LLMService's: rename the LLMService, or remove the object; "
        "Hearth writes nothing until then and looks every 10 s",
    ),
    Reason("PredecessorLeaving", False),
    Reason("RuntimeNotFound", True, _FITS),
    Reason("NoRuntimeForVendor", True, _FITS),
    Reason(
        "RuntimeInvalid",
        True,
        "the message has what is wrong with the InferenceRuntime, which `kubectl describe infr` tells too; what runs "
        "stays as it is until that is mended",
    ),
    Reason("SharingNotSupported", True, _FITS),
    Reason("CountNotAllowed", True, "`spec.resources.accelerators`: one of the counts that the runtime's devices have"),
    Reason(
        "ScaledByOthers",
        True,
        "the message names a ScaledObject or HPA that scales the engine's Deployment too, or has the name of KEDA's "
        "HPA: delete it, two scalers fight",
    ),
    Reason("SourceNotSupported", True, "choose a runtime whose engine can load such a source, or another source"),
    Reason(
        "PrewarmNotSupported",
        True,
        "give the InferenceRuntime `spec.prewarm` (an image and a command), or set `spec.cache.prewarm` to false",
    ),
    Reason("TemplateRefused", True, "the message names the field of `spec.template` that Hearth relies upon"),
    Reason("AmbiguousPriority", True, "give one of the two InferenceRuntimes a higher `spec.priority`"),
    Reason("Resolved", False),
    Reason("RuntimeNotResolved", False),  # RuntimeResolved says why
    Reason("KedaNotInstalled", True, "install KEDA; Hearth looks every 10 s"),
    Reason("NotSeen", False),
    Reason(
        "SecretNotFound",
        True,
        "the message has the command that makes the Secret; Hearth makes KEDA look again every 15 s",
    ),
    Reason("ScaledObjectCheckFailed", True, "KEDA's words: mostly its operator can't reach the scaler"),
    Reason("ScaledObjectNotReady", True, "KEDA's reason and words"),
    Reason("ScaledObjectReady", False),
    Reason("NotScaled", True, "KEDA starts nothing; its words are in `ScaledObjectReady`"),
    Reason(
        "Unschedulable",
        True,
        "the scheduler's words: devices, taints, a claim; or a node that your autoscaler is adding",
    ),
    Reason("ContainerNotCreated", True, "the kubelet's words: mostly a Secret that is not there"),
    Reason("ImageNotPulled", True, "the kubelet's words: the image's name, or `spec.imagePullSecrets`"),
    Reason("EngineCrashing", True, "the pod's log"),
    Reason("RollingOut", False),
    Reason("UpToDate", False),
    Reason("Pending", False),
    Reason("NoDemand", False),
    Reason("ColdStart", False),
    Reason("ReplicasReady", False),
)

REASONS: dict[str, Reason] = {row.name: row for row in _ROWS}


def must_act(status: str, reason: str) -> bool:
    """Whether a condition with this status and reason asks somebody to do something. A reason that is not in the table
    is a newer controller's: rather told than hidden."""
    row = REASONS.get(reason)
    return status == "False" and (row is None or row.act)


def troubles(conditions: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(reason, message) of the conditions of an LLMService on which somebody has to act."""
    found = []
    for condition in conditions:
        reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
        if must_act(str(condition.get("status") or ""), reason):
            found.append((reason, message))
    return found


def reasons_table() -> str:
    """The table of docs/install.md, in Markdown: a row for each thing to do."""
    by_todo: dict[str, list[str]] = {}
    for row in _ROWS:
        if row.act:
            by_todo.setdefault(row.todo, []).append(f"`{row.name}`")
    rows = [f"| {', '.join(names)} | {todo} |" for todo, names in by_todo.items()]
    return "\n".join(["| reason | what to do |", "|---|---|", *rows])
