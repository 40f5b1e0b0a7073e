"""LangChain."""

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.clients.programs.lines import QUESTION, serve


def ask(base_url: str, model: str, how: str) -> tuple[str, str | None]:
    chat = ChatOpenAI(
        model=model, base_url=base_url, api_key=SecretStr("none"), max_retries=0, timeout=60, max_completion_tokens=20
    )
    if how == "whole":
        answer = chat.invoke(QUESTION)
        return answer.text, answer.response_metadata.get("finish_reason")
    chunks = list(chat.stream(QUESTION))
    reasons = [reason for chunk in chunks if (reason := chunk.response_metadata.get("finish_reason"))]
    return "".join(chunk.text for chunk in chunks), "".join(reasons)


serve(ask)
