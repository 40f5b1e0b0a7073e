"""What the API server says when it refuses: metav1.Status, with the code, the reason and the words of the real one.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

import json
from collections.abc import Sequence
from typing import Any

from hearth.emulators.kinds import Kind

Cause = tuple[str, str, str]
"""(reason, message, field) of one thing that is wrong."""


class Refusal(Exception):
    """A request that is answered with a Status of kind Failure."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        kind: Kind | None = None,
        name: str = "",
        causes: Sequence[Cause] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self._kind = kind
        self._name = name
        self._causes = causes

    def status(self) -> dict[str, Any]:
        """The body of the answer."""
        details: dict[str, Any] = {}
        if self._name:
            details["name"] = self._name
        if self._kind is not None:
            details |= {"kind": self._kind.resource} | ({"group": self._kind.group} if self._kind.group else {})
        if self._causes:
            details["causes"] = [
                {"reason": reason, "message": message, "field": where} for reason, message, where in self._causes
            ]
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            **({"details": details} if details else {}),
            "code": self.code,
        }


def not_found(kind: Kind, name: str) -> Refusal:
    return Refusal(404, "NotFound", f'{kind.qualified} "{name}" not found', kind, name)


def already_exists(kind: Kind, name: str) -> Refusal:
    return Refusal(409, "AlreadyExists", f'{kind.qualified} "{name}" already exists', kind, name)


def conflict(kind: Kind, name: str, why: str) -> Refusal:
    message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}'
    return Refusal(409, "Conflict", message, kind, name)


def stale(kind: Kind, name: str) -> Refusal:
    """A write on top of a version that is no longer the one that stands."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(kind, name, why)


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> Refusal:
    """Fields whose values may not be."""
    said = [f"{where}: {message}" for _, message, where in causes]
    listed = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    group = f".{kind.group}" if kind.group else ""
    message = f'{kind.name}{group} "{name}" is invalid: {listed}'
    return Refusal(422, "Invalid", message, kind, name, causes)


def bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


def forbidden(user: str, verb: str, kind: str, group: str, where: str, name: str = "") -> Refusal:
    """A right that the account has not. `kind` has its subresource: llmservices/status."""
    resource = kind.partition("/")[0]
    qualified = f"{resource}.{group}" if group else resource
    subject = f'{qualified} "{name}" is forbidden' if name else f"{qualified} is forbidden"
    message = f'{subject}: User "{user}" cannot {verb} resource "{kind}" in API group "{group}" {where}'
    return Refusal(403, "Forbidden", message)


def escalation(kind: Kind, name: str, user: str, rules: Sequence[dict[str, Any]]) -> Refusal:
    """Rights that somebody gives and has not."""
    parts = ("apiGroups", "resources", "resourceNames", "verbs")

    def said(rule: dict[str, Any]) -> str:
        words = (f"{part[0].upper()}{part[1:]}:{json.dumps(rule[part])}" for part in parts if rule.get(part))
        return "{" + ", ".join(words).replace("ApiGroups", "APIGroups") + "}"

    held = "\n".join(map(said, rules))
    message = (
        f'{kind.qualified} "{name}" is forbidden: user "{user}" is attempting to grant RBAC permissions not currently '
        f"held:\n{held}"
    )
    return Refusal(403, "Forbidden", message, kind, name)


def expired(since: int, oldest: int) -> Refusal:
    return Refusal(410, "Expired", f"too old resource version: {since} ({oldest})")
