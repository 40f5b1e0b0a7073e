"""LLMService's status: written by the controller, read by the activator and by people, no input of the translator."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from hearth.api.base import MAX_WORD, ApiModel, Count
from hearth.coldstart import MAX_SECONDS, StartPhase

Phase = Literal["Pending", "Loading", "Ready", "ScaledToZero", "Degraded"]
ConditionType = Literal[
    "Ready", "RuntimeResolved", "ScaledObjectReady", "PodsHealthy", "UpToDate", "ModelCached", "KeysReady", "Stalled"
]

MAX_MESSAGE = 4096
"""Characters of a message; who writes one cuts it."""
MAX_STARTS = 16
MAX_CONDITIONS = 64
"""Ours are eight at most; others may say theirs beside them."""

Message = Annotated[str, Field(max_length=MAX_MESSAGE)]
Took = Annotated[
    dict[Annotated[str, Field(max_length=32)], Annotated[float, Field(ge=0, le=MAX_SECONDS)]], Field(max_length=8)
]
Time = Annotated[str, Field(max_length=64, json_schema_extra={"type": "string", "format": "date-time"})]
Generation = Annotated[int, Field(ge=-1, le=2**53)]
"""-1: nobody has looked yet, as the CRD has it from the first moment."""


class StatusModel(ApiModel):
    """A part of a status: what a newer controller adds is not minded."""

    model_config = ConfigDict(extra="ignore")


class ColdStartStatus(StatusModel):
    """The cold start that is under way."""

    phase: StartPhase = Field(description="scheduling, pulling-image, starting or loading.")
    took: Took | None = Field(None, description="Seconds that the phases before this one took.")
    since: Time | None = Field(None, description="When the phase began.")
    message: Message | None = Field(None, description="What is being waited for.")
    percent: int | None = Field(None, ge=0, le=100, description="How far it is, as far as earlier starts tell.")
    eta: Count | None = Field(None, description="Seconds until ready, as far as earlier starts tell.")


class Condition(StatusModel):
    """A metav1.Condition."""

    type: str = Field(max_length=MAX_WORD, description="Of what: Ready, for example.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is so.")
    reason: str = Field(max_length=1024, description="Why, in one word for scripts.")
    message: Message = Field(description="Why, and what to do, for people.")
    last_transition_time: Time | None = Field(None, description="When the status changed last.")
    observed_generation: Generation | None = Field(None, description="The generation of the spec that this is about.")


class NextRuntime(StatusModel):
    """What would be chosen now instead of what serves."""

    runtime: str | None = Field(None, max_length=253, description="The InferenceRuntime.")
    resource_name: str | None = Field(None, max_length=MAX_WORD, description="The extended resource.")
    since: Time | None = Field(None, description="Since when that has been so without a break.")


class RuntimeChoiceStatus(StatusModel):
    """What the resolved runtime was chosen for. It stays until another has been the better one for minutes, and there
    is no replica."""

    vendor: str | None = Field(None, max_length=63, description="The vendor that it was chosen for.")
    resource_name: str | None = Field(None, max_length=MAX_WORD, description="The extended resource that is asked for.")
    next: NextRuntime | None = Field(None, description="What would be chosen now, where that is something else.")


class PrewarmedStatus(StatusModel):
    """The prewarm that is done: its Job may be cleaned away, and the cache stays filled."""

    job: str | None = Field(None, max_length=253, description="The Job that has filled the cache.")
    claim: str | None = Field(None, max_length=64, description="uid of the claim that it has filled.")


class LLMServiceStatus(StatusModel):
    """What is."""

    phase: Phase = Field("Pending", description="Pending, Loading, Ready, ScaledToZero or Degraded.")
    resolved_runtime: str | None = Field(
        None, max_length=253, description="The InferenceRuntime that serves the model."
    )
    choice: RuntimeChoiceStatus | None = Field(None, description="What the runtime was chosen for.")
    prewarmed: PrewarmedStatus | None = Field(None, description="The prewarm that is done.")
    # No default: the API server would fill it in after each write, and the controller take it for somebody else's.
    engine_paths: list[Annotated[str, Field(max_length=128)]] | None = Field(
        None, max_length=32, description="What its runtime serves beside the paths of inference."
    )
    readiness_path: str | None = Field(
        None,
        max_length=1024,
        description="Path that engines answer with 200 when they are ready; not there where their probe is no plain "
        "GET at their port.",
    )
    replicas: Count | None = Field(None, description="Pods that there are.")
    ready_replicas: Count | None = Field(None, description="Pods that answer.")
    queue_depth: Count | None = Field(None, description="Requests waiting and in flight over all activators.")
    selector: str | None = Field(
        None, max_length=1024, description="Label selector of the engine's pods, for kubectl scale."
    )
    endpoint_url: str | None = Field(
        None, max_length=1024, alias="endpointURL", description="Where OpenAI clients find the service."
    )
    observed_generation: Generation | None = Field(None, description="The generation of the spec that this is about.")
    cold_start: ColdStartStatus | None = Field(None, description="The cold start that is under way.")
    cold_start_history: list[Took] | None = Field(
        None,
        max_length=MAX_STARTS,
        description="Seconds of each phase of the latest cold starts, the latest last; ETAs come from it.",
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=MAX_CONDITIONS,
        description="Ready, RuntimeResolved, ScaledObjectReady, PodsHealthy; UpToDate: whether all replicas run the "
        "present template; ModelCached, with cache.prewarm: whether the cache has been filled; KeysReady, with "
        "endpoint.authentication: whether its API keys can be read; Stalled where time mends nothing.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class InferenceRuntimeStatus(StatusModel):
    """Whether LLMServices can be served by it."""

    observed_generation: Generation | None = Field(None, description="The generation of the spec that this is about.")
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=MAX_CONDITIONS,
        description="Accepted: whether it can be read; its message says what is wrong. Stalled where it can't.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
