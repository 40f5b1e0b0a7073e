"""LangChain: BASE_URL MODEL stream|whole; prints what the model said."""

import sys

from langchain_openai import ChatOpenAI
from pydantic import SecretStr


def main() -> None:
    base_url, model, how = sys.argv[1:]
    chat = ChatOpenAI(
        model=model, base_url=base_url, api_key=SecretStr("none"), max_retries=0, timeout=60, max_completion_tokens=20
    )
    if how == "stream":
        print("".join(chunk.text for chunk in chat.stream("Where were you?")))
    else:
        print(chat.invoke("Where were you?").text)


main()
