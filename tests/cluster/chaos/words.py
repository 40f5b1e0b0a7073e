"""What is said of a request that went wrong, in a line."""

from tests.cluster.e2e.conversation import Conversation


def brief(talk: Conversation) -> str:
    return f"{talk.url} {talk.status} {talk.words} of {talk.tokens} words, {len(talk.beats)} beats, {talk.error[:200]}"
