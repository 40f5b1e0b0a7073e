"""LLMService's status: written by the controller, read by the activator and by people, no input of the translator."""

from typing import Literal

from pydantic import ConfigDict, Field

from hearth.api.base import ApiModel

Phase = Literal["Pending", "Loading", "Ready", "ScaledToZero", "Degraded"]


class StatusModel(ApiModel):
    """A part of a status: what a newer controller adds is not minded."""

    model_config = ConfigDict(extra="ignore")


class ColdStartStatus(StatusModel):
    """The cold start that is under way."""

    phase: str = Field(description="scheduling, pulling-image, starting or loading.")
    took: dict[str, float] | None = Field(None, description="Seconds that the phases before this one took.")
    since: str | None = Field(
        None, description="When the phase began.", json_schema_extra={"type": "string", "format": "date-time"}
    )
    message: str | None = Field(None, description="What is being waited for.")
    percent: int | None = Field(None, ge=0, le=100, description="How far it is, as far as earlier starts tell.")
    eta: int | None = Field(None, ge=0, description="Seconds until ready, as far as earlier starts tell.")


class Condition(StatusModel):
    """A metav1.Condition."""

    type: str = Field(description="Ready, RuntimeResolved or ScaledObjectReady.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is so.")
    reason: str = Field(description="Why, in one word for scripts.")
    message: str = Field(description="Why, and what to do, for people.")
    last_transition_time: str | None = Field(
        None,
        description="When the status changed last.",
        json_schema_extra={"type": "string", "format": "date-time"},
    )
    observed_generation: int | None = Field(None, description="The generation of the spec that this is about.")


class LLMServiceStatus(StatusModel):
    """What is."""

    phase: Phase = Field("Pending", description="Pending, Loading, Ready, ScaledToZero or Degraded.")
    resolved_runtime: str | None = Field(None, description="The InferenceRuntime that serves the model.")
    replicas: int | None = Field(None, description="Pods that there are.")
    ready_replicas: int | None = Field(None, description="Pods that answer.")
    queue_depth: int | None = Field(None, description="Requests waiting and in flight over all activators.")
    selector: str | None = Field(None, description="Label selector of the engine's pods, for kubectl scale.")
    endpoint_url: str | None = Field(None, alias="endpointURL", description="Where OpenAI clients find the service.")
    observed_generation: int | None = Field(None, description="The generation of the spec that this is about.")
    cold_start: ColdStartStatus | None = Field(None, description="The cold start that is under way.")
    cold_start_history: list[dict[str, float]] | None = Field(
        None,
        description="Seconds of each phase of the latest cold starts, the latest last; ETAs come from it.",
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Ready, RuntimeResolved, ScaledObjectReady.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
