"""What doctor says of certificates."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hearth.commands.certificates import certificate_check, options_of
from tests.certificates import issue, new_authority, self_signed

NOW = datetime.now(UTC)
AUTHORITY = new_authority()


def secret(**data: bytes) -> dict[str, Any]:
    made = issue(AUTHORITY, "hearth-keda", life=timedelta(days=90), now=NOW)
    files = {"ca.crt": AUTHORITY.bundle, "tls.crt": made.certificate, "tls.key": made.key}
    files |= {name.replace("_", "."): content for name, content in data.items()}
    return {"data": {name: base64.b64encode(content).decode() for name, content in files.items()}}


def said(found: dict[str, Any] | None, days: float = 0) -> tuple[bool, str]:
    check = certificate_check("keda", "keda/hearth-keda-tls", found, NOW + timedelta(days=days))
    assert check.what == "certificate of keda"
    return check.well, check.found


def test_when_it_ends_and_whether_it_is_renewed() -> None:
    ends = f"{NOW + timedelta(days=90):%Y-%m-%d}"
    assert said(secret()) == (True, f"until {ends} (Secret keda/hearth-keda-tls)")
    assert said(secret(), 70)[0]
    assert said(secret(), 76) == (False, f"until {ends}, not renewed (Secret keda/hearth-keda-tls)")
    assert "ended on" in said(secret(), 91)[1]


def test_what_is_missing_or_broken_is_said() -> None:
    assert said(None) == (False, "no Secret keda/hearth-keda-tls")
    assert said(secret(tls_key=issue(AUTHORITY, "a").key)) == (
        False,
        "Secret keda/hearth-keda-tls: the private key is not the certificate's",
    )
    for broken in (secret(tls_crt=b""), secret(ca_crt=b""), {}, {"data": {"tls.crt": "!"}}):
        assert not said(broken)[0]


def test_an_authority_that_may_not_sign_and_a_key_that_grpc_cannot_use_are_said(tmp_path: Path) -> None:
    found = certificate_check("authority", "hearth-system/hearth-ca", secret(), NOW)
    assert (found.well, found.found) == (
        False,
        "Secret hearth-system/hearth-ca: the certificate is no authority's",
    )
    current = secret(tls_crt=AUTHORITY.current.certificate, tls_key=AUTHORITY.current.key)
    assert certificate_check("authority", "hearth-system/hearth-ca", current, NOW).well
    odd = self_signed(tmp_path, "ED25519")
    check = certificate_check("keda", "a/b", secret(tls_crt=odd.certificate, tls_key=odd.key), datetime.now(UTC))
    assert "gRPC can't use a key of Ed25519" in check.found


def test_options_of_a_deployment_count_as_they_stand_last() -> None:
    containers = [{"args": ["controller", "--tls=controller", "--lease", "a/b", "--tls=certManager"]}]
    assert options_of({"spec": {"template": {"spec": {"containers": containers}}}}) == {"--tls": "certManager"}
    assert options_of({}) == {}
