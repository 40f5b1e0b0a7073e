"""The program of docs/how-to/failover.md with openai's package. Its second server is ELSEWHERE_URL."""

import os

from tests.clients.programs.blocks import program
from tests.clients.programs.lines import QUESTION, serve

_AGAIN = " | "
"""Stands in what was said where the answer begins anew."""


def ask(base_url: str, model: str, how: str) -> tuple[str, str | None]:
    """`how`: stream, or impatient, who waits half a second for a cold model."""
    os.environ["HEARTH_URL"] = base_url
    made = program("docs/how-to/failover.md", "answer")
    if how == "impatient":
        made["PATIENCE"] = 0.5
    pieces = list(made["answer"](model, "elsewhere", [{"role": "user", "content": QUESTION}]))
    return "".join(_AGAIN if piece is None else piece for piece in pieces), None


serve(ask)
