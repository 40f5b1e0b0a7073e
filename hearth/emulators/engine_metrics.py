"""The simulated engine's figures, by vLLM's names and labels: vllm/v1/metrics/loggers.py of 0.32."""

from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

M = TypeVar("M", Gauge, Histogram, Counter)

ENGINE = "0"  # the number of an engine core; there is one


class EngineMetrics:
    """All of them in a registry of their own."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()

        def metric(kind: type[M], name: str, text: str) -> M:
            return kind(name, text, ("model_name", "engine"), registry=self.registry).labels(model, ENGINE)

        self.running = metric(Gauge, "vllm:num_requests_running", "Number of requests in model execution batches.")
        self.waiting = metric(Gauge, "vllm:num_requests_waiting", "Number of requests waiting to be processed.")
        self.kv_cache = metric(Gauge, "vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.")
        self.prefix_queries = metric(Counter, "vllm:prefix_cache_queries", "Prefix cache queries, in tokens.")
        self.prefix_hits = metric(Counter, "vllm:prefix_cache_hits", "Prefix cache hits, in tokens.")
        self.prompt_tokens = metric(Counter, "vllm:prompt_tokens", "Number of prefill tokens processed.")
        self.tokens = metric(Counter, "vllm:generation_tokens", "Number of generation tokens processed.")
        self.ttft = metric(Histogram, "vllm:time_to_first_token_seconds", "Time to first token in seconds.")
        self.e2e = metric(Histogram, "vllm:e2e_request_latency_seconds", "End to end latency in seconds.")
        self.queued = metric(Histogram, "vllm:request_queue_time_seconds", "Time in the WAITING phase.")
        finished = Counter(
            "vllm:request_success",
            "Count of successfully processed requests.",
            ("model_name", "engine", "finished_reason"),
            registry=self.registry,
        )
        self.finished = {
            reason: finished.labels(model, ENGINE, reason)
            for reason in ("stop", "length", "abort", "error", "repetition")
        }
