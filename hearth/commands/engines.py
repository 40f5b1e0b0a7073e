"""What is known of each engine family: where it listens unless it is told, what it answers, what it counts.

vLLM: https://docs.vllm.ai/en/stable/cli/serve/ and design/metrics; SGLang: server_arguments and production_metrics of
https://docs.sglang.io/docs/; llama.cpp: its server's README.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Engine:
    """`port` and `host` are where it listens unless it is told; `health` are paths that a probe may GET; `metrics` what
    it calls each of an InferenceRuntime's metrics, in any of its versions; `metrics_option` what it needs to count."""

    port: int
    host: str
    health: frozenset[str]
    metrics: Mapping[str, frozenset[str]]
    metrics_option: str = ""


ENGINES = {
    "vllm": Engine(
        8000,
        "0.0.0.0",
        frozenset({"/health"}),
        {
            "queueDepth": frozenset({"vllm:num_requests_waiting"}),
            "running": frozenset({"vllm:num_requests_running"}),
            "kvCacheUtil": frozenset({"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"}),
            "ttft": frozenset({"vllm:time_to_first_token_seconds"}),
        },
    ),
    "sglang": Engine(
        30000,
        "127.0.0.1",
        frozenset({"/health", "/health_generate", "/ready"}),
        {
            "queueDepth": frozenset({"sglang:num_queue_reqs"}),
            "running": frozenset({"sglang:num_running_reqs"}),
            "kvCacheUtil": frozenset({"sglang:token_usage"}),
            "ttft": frozenset({"sglang:time_to_first_token_seconds"}),
        },
        "--enable-metrics",
    ),
    "llamacpp": Engine(
        8080,
        "127.0.0.1",
        frozenset({"/health", "/v1/health"}),
        {
            "queueDepth": frozenset({"llamacpp:requests_deferred"}),
            "running": frozenset({"llamacpp:requests_processing"}),
            "kvCacheUtil": frozenset({"llamacpp:kv_cache_usage_ratio"}),
            "ttft": frozenset(),
        },
        "--metrics",
    ),
}
"""By spec.family. Of another family only its own words are known."""
