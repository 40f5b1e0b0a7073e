"""LlamaIndex: BASE_URL MODEL stream|whole; prints what the model said."""

import sys

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike


def main() -> None:
    base_url, model, how = sys.argv[1:]
    llm = OpenAILike(
        model=model, api_base=base_url, api_key="none", is_chat_model=True, max_tokens=20, max_retries=0, timeout=60
    )
    question = [ChatMessage(role="user", content="Where were you?")]
    if how == "stream":
        print("".join(piece.delta or "" for piece in llm.stream_chat(question)))
    else:
        print(llm.chat(question).message.content)


main()
