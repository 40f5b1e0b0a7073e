"""LlamaIndex."""

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

from tests.clients.programs.lines import QUESTION, serve


def ask(base_url: str, model: str, how: str) -> tuple[str, str | None]:
    llm = OpenAILike(
        model=model, api_base=base_url, api_key="none", is_chat_model=True, max_tokens=20, max_retries=0, timeout=60
    )
    question = [ChatMessage(role="user", content=QUESTION)]
    if how == "whole":
        answer = llm.chat(question)
        return answer.message.content, answer.raw.choices[0].finish_reason
    pieces = list(llm.stream_chat(question))
    return "".join(piece.delta or "" for piece in pieces), pieces[-1].raw.choices[0].finish_reason


serve(ask)
