"""What `hearth doctor` says of certificates: of each Secret when its certificate ends, and whether it is renewed."""

from collections.abc import Mapping
from datetime import UTC, datetime

from hearth.commands.check import Check
from hearth.kube.client import KubeClient
from hearth.kube.errors import Forbidden
from hearth.kube.kinds import SECRET
from hearth.kube.objects import KubeObject, mappings, secret_data, texts
from hearth.tls.certificates import (
    RENEWED_AT,
    Pair,
    Unusable,
    certificates_in,
    check_authority,
    check_grpc,
    due,
    usable,
)
from hearth.tls.names import AUTHORITY_SECRET, SECRETS

_OPTIONS = {"activator": "--activator-certificate", "scaler": "--scaler-certificate", "keda": "--keda-certificate"}
_LATE = (1 + RENEWED_AT) / 2
"""Of a certificate's life: who renews it had half of the time that there is for it."""


async def certificates(kube: KubeClient, controller: KubeObject) -> list[Check]:
    """Of the Secrets that a controller's Deployment names, and of the authority where it has one of its own, as far as
    we may read them. Raises KubeError."""
    options = options_of(controller)
    if options.get("--tls", "off") == "off":
        return []
    secrets = {whose: options.get(option, "") for whose, option in _OPTIONS.items()}
    return await _checks(kube, _with_authority(secrets) if options["--tls"] == "controller" else secrets)


async def local_certificates(kube: KubeClient) -> list[Check]:
    """Of a `hearth up --tls`; nothing of one without. Raises KubeError."""
    secrets = _with_authority(SECRETS)
    if await kube.get_object(SECRET.path(*secrets["authority"].split("/"))) is None:
        return []
    return await _checks(kube, secrets)


def _with_authority(secrets: Mapping[str, str]) -> dict[str, str]:
    """It is in the scalers' namespace."""
    return {**secrets, "authority": f"{secrets['scaler'].partition('/')[0]}/{AUTHORITY_SECRET}"}


async def _checks(kube: KubeClient, secrets: Mapping[str, str]) -> list[Check]:
    """`secrets` are NAMESPACE/NAME by whose they are."""
    made = []
    for whose, secret in secrets.items():
        namespace, _, name = secret.partition("/")
        if not namespace or not name:
            continue
        try:
            found = await kube.get_object(SECRET.path(namespace, name))
        except Forbidden:
            continue  # many who may look at a cluster may read no Secret
        made.append(certificate_check(whose, secret, found, datetime.now(UTC)))
    return made


def options_of(deployment: KubeObject) -> dict[str, str]:
    """--OPTION=VALUE of its containers; the last of one counts."""
    containers = mappings(deployment, "spec", "template", "spec", "containers")
    words = [word for container in containers for word in texts(container, "args") if "=" in word]
    return dict(word.split("=", 1) for word in words)


def certificate_check(whose: str, secret: str, found: KubeObject | None, now: datetime) -> Check:
    """What one Secret says. Pure."""
    what, fix = f"certificate of {whose}", "docs/runbooks/HearthCertificateExpiring.md"
    if found is None:
        return Check(what, False, f"no Secret {secret}", fix)
    there = secret_data(found)
    pair = Pair(there.get("tls.crt", b""), there.get("tls.key", b""))
    try:
        ends = usable(pair, now)
        (check_authority if whose == "authority" else check_grpc)(pair)
        certificates_in(there.get("ca.crt", b""))
    except Unusable as error:
        return Check(what, False, f"Secret {secret}: {error}", fix)
    late = due(pair.certificate, now, _LATE)
    return Check(what, not late, f"until {ends:%Y-%m-%d}{', not renewed' if late else ''} (Secret {secret})", fix)
