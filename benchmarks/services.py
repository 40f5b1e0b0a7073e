"""LLMServices and a runtime for benchmarks."""

import sys

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import LLMService


def llmservices(count: int) -> list[LLMService]:
    """bench/bench-0 …, served by any runtime of the vendor "none"."""
    return [
        LLMService.model_validate(
            {
                "apiVersion": "serving.hearth.dev/v1alpha1",
                "kind": "LLMService",
                "metadata": {"name": f"bench-{number}", "namespace": "bench"},
                "spec": {
                    "model": {"source": {"uri": "hf://hearth/bench"}},
                    "runtime": {"selector": {"vendor": ["none"]}},
                    "cache": {"strategy": "None"},
                },
            }
        )
        for number in range(count)
    ]


def stopwatch_runtime() -> InferenceRuntime:
    """The engine of benchmarks/stopwatch.py."""
    return InferenceRuntime.model_validate(
        {
            "apiVersion": "serving.hearth.dev/v1alpha1",
            "kind": "InferenceRuntime",
            "metadata": {"name": "stopwatch"},
            "spec": {
                "family": "stopwatch",
                "vendor": "none",
                "container": {
                    "image": "none",
                    "command": [sys.executable, "-m", "benchmarks.stopwatch"],
                    "port": {"containerPort": 8000},
                    "args": ["8000"],
                },
                "lifecycle": {"preStopDrain": False},
            },
        }
    )
