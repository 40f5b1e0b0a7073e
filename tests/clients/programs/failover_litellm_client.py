"""The program of docs/how-to/failover.md with LiteLLM's Router, and what its settings change. Its second server is
ELSEWHERE_URL."""

import asyncio
import os
from typing import Any

from tests.clients.programs.blocks import program
from tests.clients.programs.lines import QUESTION, serve


def ask(base_url: str, model: str, how: str) -> tuple[str, str | None]:
    """`how`: stream or whole; then -retries (LiteLLM's own number), -second (a time-out of a second), -continued."""
    os.environ["HEARTH_URL"] = base_url
    made = program("docs/how-to/failover.md", "router")
    kind, _, setting = how.partition("-")
    made["Router"] = _changed(made["Router"], setting)
    return asyncio.run(_ask(made["router"](model, "elsewhere"), model, kind))


def _changed(router: Any, setting: str) -> Any:
    """The Router with one setting other than the page's."""

    def make(model_list: list[dict[str, Any]], **given: Any) -> Any:
        match setting:
            case "retries":
                del given["num_retries"]
            case "second":
                model_list[0]["litellm_params"]["timeout"] = 1
            case "continued":
                given["enable_mid_stream_fallback_continuation"] = True
                model_list[1]["model_info"] = {"supports_assistant_prefill": True}
        return router(model_list=model_list, **given)

    return make


async def _ask(router: Any, model: str, kind: str) -> tuple[str, str | None]:
    asked = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 40}
    if kind == "whole":
        return (await router.acompletion(**asked)).choices[0].message.content, None
    said = ""
    try:
        async for chunk in await router.acompletion(**asked, stream=True):
            said += "".join(choice.delta.content or "" for choice in chunk.choices)
    except Exception as error:
        raise RuntimeError(f"after {len(said.split())} words: {type(error).__name__}") from error
    return said, None


serve(ask)
