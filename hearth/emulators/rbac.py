"""Who may do what: Roles and ClusterRoles with their bindings, read as the API server's RBAC authorizer reads them.

Left out: groups, aggregated roles, nonResourceURLs, the verbs escalate and bind. https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

KubeObject = dict[str, Any]

ADMIN = "system:admin"
"""May do everything."""

ANONYMOUS = "system:anonymous"


@dataclass(frozen=True, slots=True)
class Attributes:
    """A request. `resource` has its subresource (llmservices/status); no namespace means the cluster."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Grant:
    """A rule that holds in one namespace, or everywhere where that is ""."""

    namespace: str
    rule: KubeObject

    def allows(self, asked: Attributes) -> bool:
        names = self.rule.get("resourceNames") or []
        return (
            self.namespace in {"", asked.namespace}
            and _has(self.rule.get("verbs"), asked.verb)
            and _has(self.rule.get("apiGroups"), asked.group)
            and _has(self.rule.get("resources"), asked.resource)
            and (not names or asked.name in names)
        )


class Rbac:
    """The rights of ServiceAccounts. Objects without a namespace of their own are in `namespace`."""

    def __init__(self, documents: Iterable[KubeObject], namespace: str) -> None:
        self._namespace = namespace
        self._first = list(documents)
        self._grants: dict[str, list[_Grant]] = {}
        self._rules: dict[tuple[str, str, str], list[KubeObject]] = {}
        self.load(())

    def load(self, documents: Iterable[KubeObject]) -> None:
        """Take these Roles and RoleBindings beside those that were there from the beginning."""
        self._grants, self._rules, bindings = {}, {}, []
        for document in (*self._first, *documents):
            where = document["metadata"].get("namespace", self._namespace)
            match document["kind"]:
                case "Role" | "ClusterRole" as kind:
                    place = where if kind == "Role" else ""
                    self._rules[kind, place, document["metadata"]["name"]] = document.get("rules") or []
                case "RoleBinding" | "ClusterRoleBinding":
                    bindings.append((document, where))
        for binding, where in bindings:
            scope = where if binding["kind"] == "RoleBinding" else ""
            rules = self.rules_of(binding.get("roleRef") or {}, where)
            for subject in binding.get("subjects") or []:
                if subject["kind"] == "ServiceAccount":
                    user = account(subject.get("namespace", where), subject["name"])
                    self._grants.setdefault(user, []).extend(_Grant(scope, rule) for rule in rules)

    def rules_of(self, reference: KubeObject, namespace: str) -> list[KubeObject]:
        """The rules of a roleRef in this namespace."""
        kind = reference.get("kind", "")
        return self._rules.get((kind, namespace if kind == "Role" else "", reference.get("name", "")), [])

    def allows(self, user: str, asked: Attributes) -> bool:
        """Whether a rule of some role that is bound to the user allows it."""
        return user == ADMIN or any(grant.allows(asked) for grant in self._grants.get(user, []))

    def not_held(self, user: str, rules: Iterable[KubeObject], namespace: str) -> list[KubeObject]:
        """The rules that a user may not give to anybody in this namespace, since he has not all of them himself.

        https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
        """
        return [
            rule
            for rule in rules
            if not all(
                self.allows(user, Attributes(verb, group, resource, namespace, name))
                for verb in rule.get("verbs") or ()
                for group in rule.get("apiGroups") or ()
                for resource in rule.get("resources") or ()
                for name in rule.get("resourceNames") or ("",)
            )
        ]


@dataclass(frozen=True, slots=True)
class Accounts:
    """Bearer tokens with the users that they stand for, and these users' rights."""

    tokens: Mapping[str, str]
    rbac: Rbac

    def user(self, authorization: str | None) -> str | None:
        """Of an Authorization header: anonymous without one, None where the token is nobody's."""
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        return self.tokens.get(token.strip()) if scheme.lower() == "bearer" else None


def account(namespace: str, name: str) -> str:
    """The user name of a ServiceAccount."""
    return f"system:serviceaccount:{namespace}:{name}"


def _has(values: Iterable[str] | None, wanted: str) -> bool:
    return any(value in {"*", wanted} for value in values or ())
