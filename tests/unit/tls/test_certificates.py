"""What is issued, renewed and trusted, at any moment."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from hearth.tls.certificates import (
    BACKDATED,
    Authority,
    Lives,
    Pair,
    Unusable,
    Wanted,
    authority_now,
    certificate_now,
    certificates_in,
    due,
    ends,
    fingerprint,
    life,
    usable,
)

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
LIVES = Lives(timedelta(days=90), timedelta(days=900), timedelta(hours=1))
WANTED = Wanted(("hearth-scaler.hearth-system.svc", "10.0.0.7"))


def read(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def verifies(bundle: bytes, certificate: bytes) -> bool:
    """Whether who is given the bundle trusts the certificate."""
    for each in certificates_in(bundle):
        try:
            read(certificate).verify_directly_issued_by(read(each))
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def issued(authority: Authority, now: datetime = NOW) -> Pair:
    return certificate_now(None, WANTED, authority, LIVES, now)[0]


def test_a_certificate_is_for_its_names_and_both_sides_of_a_connection() -> None:
    authority = authority_now(None, LIVES, NOW)
    made, why = certificate_now(None, WANTED, authority, LIVES, NOW)
    assert why == "there is none"
    certificate = read(made.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["hearth-scaler.hearth-system.svc"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["10.0.0.7"]
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {x509.oid.ExtendedKeyUsageOID.SERVER_AUTH, x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert verifies(authority.bundle, made.certificate)
    assert usable(made, NOW) == NOW + LIVES.certificate


def test_a_clock_that_is_an_hour_behind_takes_what_is_new() -> None:
    authority = authority_now(None, LIVES, NOW)
    for pem in (authority.current.certificate, issued(authority).certificate):
        assert read(pem).not_valid_before_utc == NOW - BACKDATED


@pytest.mark.parametrize("jump", [timedelta(hours=1), -timedelta(hours=1)])
def test_a_clock_that_is_set_by_an_hour_and_back_makes_nothing_anew(jump: timedelta) -> None:
    authority = authority_now(None, LIVES, NOW)
    made = issued(authority)
    for now in (NOW + jump, NOW):
        assert authority_now(authority, LIVES, now) == authority
        assert certificate_now(made, WANTED, authority, LIVES, now) == (made, "")
    ahead = authority_now(None, LIVES, NOW + timedelta(hours=1))
    assert authority_now(ahead, LIVES, NOW) == ahead, "made by a clock that was ahead"


def test_the_life_of_what_somebody_else_made_begins_when_it_is_valid() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "another authority")])
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(hours=1))
    pem = built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    assert life(pem) == timedelta(hours=1)
    assert not due(pem, NOW + timedelta(minutes=39))
    assert due(pem, NOW + timedelta(minutes=40))


def test_a_certificate_is_kept_until_two_thirds_of_its_life() -> None:
    authority = authority_now(None, LIVES, NOW)
    made = issued(authority)
    before = NOW + timedelta(days=60) - timedelta(seconds=1)
    assert certificate_now(made, WANTED, authority, LIVES, before) == (made, "")
    renewed, why = certificate_now(made, WANTED, authority, LIVES, before + timedelta(seconds=1))
    assert renewed != made
    assert why == "two thirds of its life are over"


@pytest.mark.parametrize("life", [timedelta(seconds=20), timedelta(minutes=5), timedelta(days=90)])
def test_what_is_new_is_never_due_however_short_its_life_is(life: timedelta) -> None:
    lives = replace(LIVES, certificate=life)
    authority = authority_now(None, lives, NOW)
    made, _ = certificate_now(None, WANTED, authority, lives, NOW)
    assert not due(made.certificate, NOW)
    assert due(made.certificate, NOW + life * 0.67)


def test_what_is_wrong_with_a_certificate_is_said() -> None:
    authority, other = authority_now(None, LIVES, NOW), authority_now(None, LIVES, NOW)
    made = issued(authority)
    cases = {
        "it has other names": (made, Wanted(("another",)), authority, NOW),
        "another authority signed it": (made, WANTED, other, NOW),
        "the private key is not the certificate's": (replace(made, key=issued(other).key), WANTED, authority, NOW),
        "the certificate is valid from 2026-11-30 10:00 UTC on": (made, WANTED, authority, NOW - timedelta(days=1)),
    }
    for reason, (found, wanted, by, now) in cases.items():
        assert certificate_now(found, wanted, by, LIVES, now)[1] == reason
    for broken in (Pair(b"", made.key), Pair(made.certificate[:300], made.key)):
        assert certificate_now(broken, WANTED, authority, LIVES, NOW)[1].startswith("no certificate")
    for key in (b"", made.key[:60], b"-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n"):
        assert certificate_now(replace(made, key=key), WANTED, authority, LIVES, NOW)[1].startswith("no private key")
    with pytest.raises(Unusable, match="ended on 2027-02-28 12:00 UTC"):
        usable(made, NOW + LIVES.certificate)


def test_no_certificate_outlives_its_authority() -> None:
    authority = authority_now(None, LIVES, NOW)
    late = NOW + LIVES.authority - timedelta(days=10)
    assert ends(issued(authority, late).certificate) == NOW + LIVES.authority


def test_a_successor_is_trusted_before_it_signs_and_the_one_before_until_it_ends() -> None:
    first = authority_now(None, LIVES, NOW)
    third = NOW + LIVES.authority * 2 / 3
    assert authority_now(first, LIVES, third - timedelta(seconds=1)) == first
    known = authority_now(first, LIVES, third)
    assert known.current == first.current
    assert known.successor is not None
    assert known.trusted == (first.current.certificate, known.successor.certificate)
    assert authority_now(known, LIVES, third + LIVES.known - timedelta(seconds=1)) == known
    changed = authority_now(known, LIVES, third + LIVES.known)
    assert (changed.current, changed.successor) == (known.successor, None)
    assert changed.trusted == known.trusted
    after = authority_now(changed, LIVES, NOW + LIVES.authority)
    assert after.trusted == (changed.current.certificate,)
    names = {read(each).subject.rfc4514_string() for each in known.trusted}
    assert len(names) == 2, "some verifiers look for an issuer by its name"


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.01, 0.4), min_size=5, max_size=14), st.integers(0, 3))
def test_whenever_somebody_looks_both_sides_know_each_other(steps: list[float], late: int) -> None:
    """One side has what was made now, the other what was there some looks ago, within the time that it takes to be
    known: they trust each other, though authorities come and go."""
    lives = Lives(timedelta(days=10), timedelta(days=40), timedelta(hours=1))
    authority, now = authority_now(None, lives, NOW), NOW
    pair, _ = certificate_now(None, WANTED, authority, lives, now)
    for step in steps:
        now += lives.certificate * step
        for part in range(late + 1):  # looks that come close upon each other
            then = now + lives.known * 0.9 * part / (late + 1)
            bundle_before, pair_before = authority.bundle, pair
            authority = authority_now(authority, lives, then)
            pair, _ = certificate_now(pair, WANTED, authority, lives, then)
            assert verifies(authority.bundle, pair_before.certificate)
            assert verifies(bundle_before, pair.certificate)
            assert usable(pair, then) > then


def test_an_authority_that_has_ended_is_made_anew() -> None:
    """Nobody looked for years."""
    first = authority_now(None, LIVES, NOW)
    late = authority_now(first, LIVES, NOW + LIVES.authority)
    assert late.current != first.current
    assert late.trusted == (late.current.certificate,)


def test_a_bundle_that_was_cut_short_is_made_whole() -> None:
    first = authority_now(None, LIVES, NOW)
    assert authority_now(replace(first, trusted=()), LIVES, NOW) == first


def test_a_bundle_of_nothing_is_none() -> None:
    for bundle in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(Unusable, match="no certificates"):
            certificates_in(bundle)


def test_a_fingerprint_is_of_every_part_and_where_it_ends() -> None:
    assert fingerprint(b"a", b"b") != fingerprint(b"ab", b"") != fingerprint(b"a", b"c")
