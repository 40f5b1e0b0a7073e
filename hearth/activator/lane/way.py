"""A request's way through the lane, as one table: where it is, what may happen there, and where that leads.

Whoever moves a request says what happened; an event that the table does not have is a mistake of ours and raises.
"""

from typing import Final, Literal

State = Literal["arriving", "waiting", "connecting", "asked", "answering", "over"]
"""Not let in yet; in the line of its LLMService; a connection to a replica is being opened; the replica has the
request; a byte of its answer has reached the client; nothing follows."""

Event = Literal["admitted", "dispatched", "connected", "failed", "stale", "spoke", "done", "refused", "left", "stopped"]
"""`stale`: the connection was an idle one, and closed before a byte came: maybe before the request. `failed`: the
replica, before a byte of its answer reached the client. `done`: the answer is over, whole or broken off. `left`: the
client. `stopped`: this process, or a limit of time."""

WAY: Final[dict[State, dict[Event, State]]] = {
    "arriving": {"admitted": "waiting", "refused": "over"},
    "waiting": {"dispatched": "connecting", "refused": "over", "left": "over", "stopped": "over"},
    "connecting": {"connected": "asked", "failed": "waiting", "refused": "over", "left": "over", "stopped": "over"},
    "asked": {
        "spoke": "answering",
        "stale": "connecting",
        "failed": "waiting",
        "refused": "over",
        "done": "over",
        "left": "over",
        "stopped": "over",
    },
    "answering": {"done": "over", "left": "over", "stopped": "over"},
    "over": {},
}


def after(state: State, event: Event) -> State:
    """Where this event leads. Raises KeyError, with both names, for one that can't happen there."""
    following = WAY[state].get(event)
    if following is None:
        raise KeyError(f"{event} while {state}")
    return following
