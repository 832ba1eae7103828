"""A self-signed certificate for the emulated BMCs: what most real ones are delivered with."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID = timedelta(days=825)
RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files; ``cert`` is also what a client names as its CA file."""

    cert: Path
    key: Path


def certificate_in(folder: Path, hosts: tuple[str, ...] = ("127.0.0.1", "localhost")) -> Certificate:
    """The certificate in a folder; a new one where there is none, or where it ends soon."""
    files = Certificate(folder / "bmc-cert.pem", folder / "bmc-key.pem")
    if not _is_usable(files):
        make_certificate(files, hosts, datetime.now(UTC))
    return files


def make_certificate(files: Certificate, hosts: tuple[str, ...], now: datetime) -> None:
    """Write key and certificate for ``hosts`` (names or addresses); nobody else may read the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName([_name_of(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    with open(os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(secret)
    files.cert.write_bytes(certificate.public_bytes(pem))


def _is_usable(files: Certificate) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(files.cert.read_bytes())
    except (OSError, ValueError):
        return False
    return files.key.exists() and certificate.not_valid_after_utc - datetime.now(UTC) > RENEW_BEFORE


def _name_of(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
