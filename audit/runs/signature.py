"""Who answers for a run: an Ed25519 signature of its record, in a file beside it.

The signature is that of the bytes of ``record.json``, so other tools can check it as well, e.g.
``openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in record.json -sigfile record.sig``.
"""

from __future__ import annotations

from pathlib import Path

from audit.atomic import replacing
from audit.errors import ConfigError, RunError
from audit.runs.folder import Run
from audit.runs.record import check_record

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )
    from cryptography.hazmat.primitives.serialization import (
        load_pem_private_key,
        load_pem_public_key,
    )
except ImportError as missing:
    raise ConfigError(
        "signatures need the library cryptography: pip install 'cuecheck[sign]'"
    ) from missing


def sign_run(run: Run, key_file: Path) -> None:
    """Sign the record of a finished and unaltered run; an older signature is replaced.

    Parameters
    ----------
    run
        The run.
    key_file
        Private Ed25519 key as PEM, without a password. It is only read, and may not lie in the run.

    Raises
    ------
    RunError
        If the run is unfinished or altered, or the key lies in it.
    ConfigError
        If the file holds no such key.
    """
    check_record(run)
    if key_file.resolve().is_relative_to(run.folder.resolve()):
        raise RunError(f"{key_file}: lies in the run, which others read; keep the key elsewhere")
    signature = _private_key(key_file).sign(run.record.read_bytes())
    with replacing(run.signature) as temporary:
        temporary.write_bytes(signature)


def check_signature(run: Run, key_file: Path) -> None:
    """Refuse a run whose record was not signed by the private half of a public key.

    Raises
    ------
    RunError
        If the signature is missing, is none, is of another key or of another record.
    ConfigError
        If the file holds no public Ed25519 key.
    """
    key = _public_key(key_file)
    if not run.signature.is_file():
        raise RunError(f"{run.signature}: missing; the run is not signed (cuecheck sign)")
    try:
        key.verify(run.signature.read_bytes(), run.record.read_bytes())
    except InvalidSignature as error:
        raise RunError(
            f"{run.signature}: not the signature of this record by the key {key_file}; the record "
            "was altered after it was signed, or another key signed it"
        ) from error


def _private_key(file: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{file}: not a private key in PEM without a password; make one with "
            f"`openssl genpkey -algorithm ed25519 -out {file.name}`"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{file}: a private key of another kind; Ed25519 is needed")
    return key


def _public_key(file: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(file.read_bytes())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{file}: not a public key in PEM; make one with "
            f"`openssl pkey -in private.pem -pubout -out {file.name}`"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{file}: a public key of another kind; Ed25519 is needed")
    return key
