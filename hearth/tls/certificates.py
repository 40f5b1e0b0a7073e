"""Certificates of Hearth's own: what to issue, when to renew it, and whom to trust meanwhile. Pure but for random keys.

An authority signs the certificates of the roles and of KEDA. Everything is renewed at two thirds of its life, as
cert-manager does by default. An authority's successor is trusted by everybody for a while before it signs anything, and
the one before is trusted until it ends, so that no two sides ever meet of which one does not know the other's.

PEM throughout. Times are aware (UTC).
"""

import hashlib
import ipaddress
import re
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, PublicKeyAlgorithmOID

BACKDATED = timedelta(hours=2)
"""How much earlier a certificate is valid than it is made: clocks of nodes differ, and are set. What a clock made that
was an hour ahead, or one looks at that is an hour behind, is valid."""
RENEWED_AT = 2 / 3
"""Of a certificate's life."""
MOST_PEM = 256 * 1024
"""Bytes of a file: more than any chain or bundle of a Secret has, and little enough to be read on the event loop."""

# What a certificate, key or extension that is well formed for its maker may raise here: the library has no common base.
_UNREADABLE = (
    *(ValueError, TypeError, UnsupportedAlgorithm, OverflowError),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_RSA_BITS = range(2048, 8193)
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_AUTHORITY = "Hearth authority"
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class Lives:
    """How long what is issued is valid. A successor of an authority signs nothing before it was trusted for `known`:
    the kubelet brings a changed Secret to a pod within two minutes."""

    certificate: timedelta = timedelta(days=90)
    authority: timedelta = timedelta(days=5 * 365)
    known: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate (its chain after it, where it has one) and its private key."""

    certificate: bytes
    key: bytes


class Unusable(Exception):
    """A certificate or key that can't be used; the text says why."""


class NotYet(Unusable):
    """A certificate that can be used later, as it is."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs (`current`), who will (`successor`), and all that are to be trusted, the oldest first."""

    current: Pair
    successor: Pair | None
    trusted: tuple[bytes, ...]

    @property
    def bundle(self) -> bytes:
        """What whoever verifies is given."""
        return b"".join(self.trusted)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate that is to be there: its DNS names or IP addresses, the first of which stands for the whole."""

    names: tuple[str, ...]


def authority_now(found: Authority | None, lives: Lives, now: datetime) -> Authority:
    """The authority as it must be at this moment: made, succeeded, or as it was found."""
    # One of the future is a clock's that was wrong: nobody takes what it signs.
    if found is None or _ended(found.current.certificate, now) or _begins_later(found.current.certificate, now):
        made = _new_authority(lives, now)
        still = () if found is None else found.trusted  # what it signed before it ended may be in use
        return _without_ended(Authority(made, None, (*still, made.certificate)), now)
    if found.successor is not None and _ended(found.successor.certificate, now):
        found = replace(found, successor=None)
    if found.successor is None and due(found.current.certificate, now):
        successor = _new_authority(lives, now)
        found = replace(found, successor=successor, trusted=(*found.trusted, successor.certificate))
    if found.successor is not None and now >= _made(found.successor.certificate) + lives.known:
        found = replace(found, current=found.successor, successor=None)
    trusted = found.trusted
    for pair in (found.current, found.successor):  # somebody may have cut the bundle short
        if pair is not None and pair.certificate not in trusted:
            trusted = (*trusted, pair.certificate)
    return _without_ended(replace(found, trusted=trusted), now)


def certificate_now(
    found: Pair | None, wanted: Wanted, authority: Authority, lives: Lives, now: datetime
) -> tuple[Pair, str]:
    """A certificate as it must be at this moment, and why it is another one than was found; "" where it is the same."""
    why = _why_not(found, wanted, authority, now)
    return (found, "") if found is not None and not why else (_issued(wanted, authority.current, lives, now), why)


def check(pair: Pair) -> None:
    """Raise Unusable where a certificate or its key can't be read, or it has another key."""
    certificate, key = _certificate(pair.certificate), _key(pair.key)
    try:
        same = _public(certificate.public_key()) == _public(key.public_key())
    except _UNREADABLE as error:
        raise Unusable(f"the certificate's key can't be read: {error}") from error
    if not same:
        raise Unusable("the private key is not the certificate's")


def check_authority(pair: Pair) -> None:
    """Raise Unusable as `check` does, and where the certificate may sign no others (RFC 5280, 4.2.1.3 and 4.2.1.9)."""
    check(pair)
    try:
        extensions = _certificate(pair.certificate).extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = next((each.value for each in extensions if isinstance(each.value, x509.KeyUsage)), None)
    except (*_UNREADABLE, x509.ExtensionNotFound) as error:
        raise Unusable(f"the certificate is no authority's: {error}") from error
    if not constraints.ca or (usage is not None and not usage.key_cert_sign):
        raise Unusable("the certificate is no authority's")


def check_grpc(pair: Pair) -> None:
    """Raise Unusable where gRPC's TLS (BoringSSL, as it is configured there) shakes no hands with a certificate: it
    takes RSA, P-256 and P-384, signed with SHA-2 by an authority with such a key."""
    certificate = _certificate(pair.certificate)
    try:
        key, signed = certificate.public_key(), certificate.signature_hash_algorithm
        for_pss_alone = certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS
    except _UNREADABLE as error:
        raise Unusable(f"the certificate can't be read: {error}") from error
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, _CURVES):
            pass
        case rsa.RSAPublicKey() if key.key_size in _RSA_BITS and not for_pss_alone:
            pass
        case _:
            raise Unusable(f"gRPC can't use a key of {_kind(key)}; expected RSA of 2048 bits, P-256 or P-384")
    if not isinstance(signed, _HASHES):
        found = signed.name if signed is not None else "no digest"
        raise Unusable(
            f"gRPC can't verify the signature ({found}); expected SHA-256, SHA-384 or SHA-512 by an authority whose "
            "key is RSA, P-256 or P-384"
        )


def usable(pair: Pair, now: datetime) -> datetime:
    """When a certificate that can be used now ends. Raises Unusable: as `check` does, or it is over; NotYet before it
    begins."""
    check(pair)
    certificate = _certificate(pair.certificate)
    if now >= certificate.not_valid_after_utc:
        raise Unusable(f"the certificate ended on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if now < certificate.not_valid_before_utc:
        raise NotYet(f"the certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on")
    return certificate.not_valid_after_utc


def ends(certificate: bytes) -> datetime:
    """When a certificate ends. Raises Unusable."""
    return _certificate(certificate).not_valid_after_utc


def life(certificate: bytes) -> timedelta:
    """For how long a certificate is valid from its making. Raises Unusable."""
    return ends(certificate) - _made(certificate)


def due(certificate: bytes, now: datetime, at: float = RENEWED_AT) -> bool:
    """Whether so much of a certificate's life is over. Raises Unusable."""
    return now >= _made(certificate) + life(certificate) * at


def certificates_in(bundle: bytes) -> tuple[bytes, ...]:
    """The certificates of a bundle, each for itself. Raises Unusable where there is none, or one can't be read."""
    try:
        found = x509.load_pem_x509_certificates(bundle)
    except _UNREADABLE as error:
        raise Unusable(f"no certificates: {error}") from error
    return tuple(each.public_bytes(serialization.Encoding.PEM) for each in found)


def readable_in(bundle: bytes) -> tuple[bytes, ...]:
    """The certificates of a bundle that can be read, each for itself."""
    found: list[bytes] = []
    for each in _PEM.findall(bundle):
        with suppress(Unusable):
            found += certificates_in(each)
    return tuple(found)


def fingerprint(*parts: bytes) -> str:
    """16 hexadecimal digits that differ where a part differs."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _why_not(found: Pair | None, wanted: Wanted, authority: Authority, now: datetime) -> str:
    if found is None:
        return "there is none"
    try:
        usable(found, now)
        certificate = _certificate(found.certificate)
        if due(found.certificate, now):
            return "two thirds of its life are over"
        if _names(certificate) != set(wanted.names):
            return "it has other names"
    except Unusable as unusable_:
        return str(unusable_)
    try:
        certificate.verify_directly_issued_by(_certificate(authority.current.certificate))
    except (*_UNREADABLE, InvalidSignature):
        return "another authority signed it"
    return ""


def _issued(wanted: Wanted, by: Pair, lives: Lives, now: datetime) -> Pair:
    signer, signing = _certificate(by.certificate), _key(by.key)
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    built = (
        _builder(wanted.names[0], key, now, min(now + lives.certificate, signer.not_valid_after_utc))
        .issuer_name(signer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(_general_names(wanted.names)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .sign(signing, hashes.SHA256())
    )
    return _pair(built, key)


def _new_authority(lives: Lives, now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own for each: some verifiers look for an issuer by its name, and take the first.
    name = f"{_AUTHORITY} {secrets.token_hex(4)}"
    built = (
        _builder(name, key, now, now + lives.authority)
        .issuer_name(_subject(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pair(built, key)


def _builder(name: str, key: ec.EllipticCurvePrivateKey, now: datetime, until: datetime) -> x509.CertificateBuilder:
    made = x509.CertificateBuilder().subject_name(_subject(name)).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - BACKDATED).not_valid_after(until)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return made.add_extension(identifier, critical=False)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])  # X.520's bound; SANs are what counts


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    made: list[x509.GeneralName] = []
    for name in names:
        try:
            made.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            made.append(x509.DNSName(name))
    return made


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses: Iterable[object] = found.get_values_for_type(x509.IPAddress)
        return {*found.get_values_for_type(x509.DNSName), *map(str, addresses)}
    except (*_UNREADABLE, x509.ExtensionNotFound):
        return set()


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), encoded)


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except _UNREADABLE as error:
        raise Unusable(f"no certificate: {error}") from error


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Any kind of key: of another kind's, only the public half is asked for."""
    try:
        return serialization.load_pem_private_key(pem, None)  # type: ignore[return-value]
    except _UNREADABLE as error:
        raise Unusable(f"no private key: {error}") from error


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _kind(key: object) -> str:
    match key:
        case ec.EllipticCurvePublicKey():
            return key.curve.name
        case rsa.RSAPublicKey():
            return f"RSA of {key.key_size} bits"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")


def _made(certificate: bytes) -> datetime:
    """When it was made: of ours, `BACKDATED` after it is valid; of somebody else's, when it is."""
    found = _certificate(certificate)
    ours = found.issuer.rfc4514_string().startswith(f"CN={_AUTHORITY}")
    return min(found.not_valid_before_utc + (BACKDATED if ours else timedelta()), ends(certificate))


def _ended(certificate: bytes, now: datetime) -> bool:
    return now >= _certificate(certificate).not_valid_after_utc


def _begins_later(certificate: bytes, now: datetime) -> bool:
    return now < _certificate(certificate).not_valid_before_utc


def _without_ended(authority: Authority, now: datetime) -> Authority:
    return replace(authority, trusted=tuple(each for each in authority.trusted if not _ended(each, now)))
