"""Addresses in the artifact store. Pure: who fetches uses the resolved address with a library."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

SCHEME = "store://"
_FULL = ("No space left on device", "Disk quota exceeded")
"""The operating system's words; those of object stores are as many as there are stores."""

UNAVAILABLE = "StoreUnavailable"
TROUBLES = frozenset(
    {UNAVAILABLE, "StoreUnreachable", "StoreAccessDenied", "StoreCertificateUntrusted", "StoreAuthoritiesMissing"}
)
"""Reasons for which a store cannot be used now, though another try may succeed: somebody mends it."""
PATIENCE: dict[str, Any] = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
"""How long the client tries by itself before the container says what is wrong. By default it is silent for three minutes."""
_AUTHORITIES = "SSL_CERT_FILE"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a store cannot be used: a CamelCase reason, and a sentence that quotes nothing that a library or a server has said."""

    reason: str
    sentence: str


def trouble(error: Exception, uri: str, environ: Mapping[str, str] = os.environ) -> Trouble:
    """What an exception of the store's client means. It tells kinds apart in its text alone."""
    name, text, where = type(error).__name__, str(error), uri.partition("?")[0]
    if isinstance(error, PermissionError) or "os error 13" in text:
        why = "the volume's files belong to another user or group"
        return Trouble("StoreAccessDenied", f"{where}: {why}: set securityContext.fsGroup in the chart's podDefaults")
    # Before what follows: the text of these holds what a server has answered.
    if name in ("PermissionDeniedError", "UnauthenticatedError"):
        why = "the server refuses the credentials, or they do not allow this"
        return Trouble("StoreAccessDenied", f"{where}: {why}: check the Secret of the chart's store.existingSecret")
    file = environ.get(_AUTHORITIES)
    if "InvalidCertificate" in text and file and not Path(file).is_file():
        why = "the ConfigMap or Secret that caBundle names is missing, or has no such key"
        return Trouble("StoreAuthoritiesMissing", f"{where}: {why}: make it, or correct caBundle")
    if "InvalidCertificate" in text:
        why = "the server's certificate is not trusted: its authority is unknown, its name another, or its time over"
        return Trouble(
            "StoreCertificateUntrusted", f"{where}: {why}. Set caBundle, in the chart's podDefaults or in pod"
        )
    if any(
        words in text for words in ("/latest/api/token", "CredentialsProvider", "MissingCredentials", "MissingToken")
    ):
        why = "there are no credentials"
        return Trouble("StoreAccessDenied", f"{where}: {why}: set the chart's store.existingSecret")
    if any(words in text for words in ("kind: Connect", "kind: Timeout", "dns error", "tcp connect error")):
        why = "the server does not answer: its name is unknown, it refuses connections, or something on the way drops them"
        return Trouble("StoreUnreachable", f"{where}: {why}. Check the address, proxies and NetworkPolicies")
    return Trouble(UNAVAILABLE, f"{where} cannot be used now ({name})")


def patient(address: str) -> dict[str, Any]:
    """The options of a client for that address; a local store has none."""
    return {} if address.startswith(("file://", "memory://")) else {"retry_config": PATIENCE}


class InvalidAddressError(ValueError):
    """The address leaves the store, or there is no store to resolve it against."""


def resolve(uri: str, store: str | None) -> str:
    """The address that a client can fetch: ``store://PATH`` below the store, others as they are.

    Args:
        uri: an address of the API's type Uri.
        store: where the store is, such as ``file:///var/lib/modelward/store`` or ``s3://bucket/prefix``.

    Raises:
        InvalidAddressError: the path leaves the store, or store is not set.
    """
    if not uri.startswith(SCHEME):
        return uri
    path = PurePosixPath(unquote(uri.removeprefix(SCHEME)))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise InvalidAddressError(f"{uri}: a store address is a relative path without '..'")
    if not store:
        raise InvalidAddressError(f"{uri}: no artifact store is configured; set store in the chart's values")
    return f"{store.rstrip('/')}/{path}"


def split(address: str) -> tuple[str, str]:
    """The address of the folder, and the file's name in it."""
    folder, _, name = address.rpartition("/")
    return folder, name


def is_full(error: Exception) -> bool:
    """Whether a store refused to write because there is no room: its client says so in words only."""
    return any(words in str(error) for words in _FULL)
