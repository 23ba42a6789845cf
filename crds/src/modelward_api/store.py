"""Addresses of data and bundles: which of them a container may use, and how messages show them.

Training, batches and the fetch of bundles share these rules. Nothing here makes a request; only links in the file system are
followed, because a link could lead out of the store.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from modelward_api.resources.reasons import Reason

SCHEME, LOCAL, BUCKET = "store://", "file://", "s3://"
_UNSAFE = re.compile(r"[%?#\\\x00-\x1f\x7f]")
"""Characters that a store's client may not take as part of a path, so that it could read another file than was checked."""
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}(/.*)?", re.DOTALL)
"""A bucket's name, without user info, port, or anything else that could choose another host."""
_FULL = ("no space left on device", "disk quota exceeded")
"""The operating system's words. Object stores each have their own."""
_MISSING = ("not found", "no such file", "canonicalize")
"""Words for a missing object, file, and root of a local store."""
_DENIED = "os error 13"
_REFUSED = ("PermissionDeniedError", "UnauthenticatedError")

RETRIES: dict[str, Any] = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
"""Seconds for which the client retries before the container reports an error. The client's default is three minutes."""
_AUTHORITIES = "SSL_CERT_FILE"
UNTRUSTED = (
    "the server's certificate is not trusted: its authority is unknown, its name does not match, or it has expired"
)
SILENT = "the server does not answer: its name is unknown, it refuses connections, or something on the way drops them"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a store cannot be used. The sentence quotes nothing that a library or a server said."""

    reason: Reason
    sentence: str


def trouble(error: Exception, uri: str, environ: Mapping[str, str] = os.environ) -> Trouble:
    """Return what an exception of the store's client means. Only its text distinguishes the kinds."""
    name, text, where = type(error).__name__, str(error), shown(uri)
    if isinstance(error, PermissionError) or _DENIED in text:
        why = "the volume's files belong to another user or group"
        return Trouble(
            Reason.STORE_ACCESS_DENIED, f"{where}: {why}: set securityContext.fsGroup in the chart's podDefaults"
        )
    # Before what follows: the text of these holds what a server has answered.
    if name in _REFUSED:
        why = "the server refuses the credentials, or they lack a permission"
        return Trouble(
            Reason.STORE_ACCESS_DENIED, f"{where}: {why}: check the Secret of the chart's store.existingSecret"
        )
    file = environ.get(_AUTHORITIES)
    if "InvalidCertificate" in text and file and not Path(file).is_file():
        why = "the ConfigMap or Secret of caBundle is missing, or has no such key"
        return Trouble(Reason.STORE_AUTHORITIES_MISSING, f"{where}: {why}: create it, or correct caBundle")
    if "InvalidCertificate" in text:
        return Trouble(
            Reason.STORE_CERTIFICATE_UNTRUSTED,
            f"{where}: {UNTRUSTED}. Set caBundle, in the chart's podDefaults or in pod",
        )
    if any(
        words in text for words in ("/latest/api/token", "CredentialsProvider", "MissingCredentials", "MissingToken")
    ):
        why = "there are no credentials"
        return Trouble(Reason.STORE_ACCESS_DENIED, f"{where}: {why}: set the chart's store.existingSecret")
    if any(words in text for words in ("kind: Connect", "kind: Timeout", "dns error", "tcp connect error")):
        return Trouble(Reason.STORE_UNREACHABLE, f"{where}: {SILENT}. Check the address, proxies and NetworkPolicies")
    return Trouble(Reason.STORE_UNAVAILABLE, f"{where} cannot be used now ({name})")


def client_options(address: str) -> dict[str, Any]:
    """Return the options of a client for that address. A local store has none."""
    return {} if address.startswith(("file://", "memory://")) else {"retry_config": RETRIES}


class InvalidAddressError(ValueError):
    """The address is outside the store, or no store is configured."""


def resolve(uri: str, store: str | None) -> str:
    """Return the address that a client can fetch.

    ``store://PATH`` is below the store, and ``file://`` must be, too: other files are the container's own. ``s3://BUCKET/KEY`` is
    always at the endpoint of the platform's credentials: an address cannot choose a host.

    Args:
        uri: an address of the API's type Uri.
        store: where the store is, such as ``file:///var/lib/modelward/store`` or ``s3://bucket/prefix``.

    Raises:
        InvalidAddressError: the path leaves the store, store is not set, or the scheme is not supported.
    """
    if uri.startswith(SCHEME):
        return _below(uri, store)
    if uri.startswith(LOCAL):
        return _local(uri, unquote(uri.removeprefix(LOCAL)), store)
    if uri.startswith(BUCKET):
        rest = unquote(uri.removeprefix(BUCKET))
        if _UNSAFE.search(rest) or not _BUCKET.fullmatch(rest) or ".." in rest.split("/"):
            raise InvalidAddressError(f"{shown(uri)}: must be s3://BUCKET/KEY without user info, port, query or '..'")
        return f"{BUCKET}{rest}"
    raise InvalidAddressError(
        f"{shown(uri)}: only store://, s3:// and file:// (below the store) can be read: copy the file into the store"
    )


CLOUDS = (BUCKET, "gs://", "az://")


def resolve_data(uri: str, store: str | None) -> str:
    """Return the address of training data that a client can fetch; that of a folder still ends in /.

    In addition to :func:`resolve`, buckets of other clouds, and https, whose host is checked when it is called.

    Raises:
        InvalidAddressError: as of resolve.
    """
    if uri.startswith("http://"):
        message = f"{shown(uri)}: http:// is not read, because anybody on the way can change the data: use https://"
        raise InvalidAddressError(message)
    if uri.startswith("https://"):
        return uri
    scheme = next((scheme for scheme in CLOUDS if uri.startswith(scheme)), None)
    if scheme is None:
        address = resolve(uri, store)
    else:
        address = scheme + resolve(BUCKET + uri.removeprefix(scheme), store).removeprefix(BUCKET)
    return f"{address}/" if uri.endswith("/") and not address.endswith("/") else address


def _below(uri: str, store: str | None) -> str:
    text = unquote(uri.removeprefix(SCHEME))
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or not path.parts or _UNSAFE.search(text):
        raise InvalidAddressError(
            f"{shown(uri)}: must be store://PATH with a relative path without '..', '%', '?' or '#'"
        )
    if not store:
        message = f"{shown(uri)}: no artifact store is configured; set store in the chart's values"
        raise InvalidAddressError(message)
    address = f"{store.rstrip('/')}/{path}"
    return _local(uri, address.removeprefix(LOCAL), store) if store.startswith(LOCAL) else address


def _local(uri: str, path: str, store: str | None) -> str:
    """Return the real path of a file, which must be below the real path of the store."""
    if not store or not store.startswith(LOCAL):
        raise InvalidAddressError(f"{shown(uri)}: the artifact store is not in the file system: use store:// or s3://")
    root, target = Path(store.removeprefix(LOCAL)), PurePosixPath(path)
    if not target.is_absolute() or ".." in target.parts or _UNSAFE.search(path.removeprefix(str(root))):
        raise InvalidAddressError(f"{shown(uri)}: must be file:///PATH without '..', '%', '?' or '#'")
    if not is_inside(path, store):
        raise InvalidAddressError(f"{shown(uri)}: must be below the artifact store: copy the file there")
    return f"{LOCAL}{Path(path).resolve()}"


def is_inside(path: str, store: str) -> bool:
    """Return whether a path is below a store in the file system, after following all links."""
    root = Path(store.removeprefix(LOCAL)).resolve()
    return Path(path).resolve().is_relative_to(root)


def shown(uri: str) -> str:
    """Return the address for messages, without user info, query and fragment, which may hold secrets or identifiers."""
    scheme, separator, rest = uri.partition("://")
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def split(address: str) -> tuple[str, str]:
    """Return the address of the folder, and the name of the file in it."""
    folder, _, name = address.rpartition("/")
    return folder, name


def is_full(error: Exception) -> bool:
    """Return whether a store refused to write because no space is left. Only the exception's text says so."""
    return _says(error, _FULL)


def is_missing(error: Exception) -> bool:
    """Return whether a store has nothing at the address, though the store itself can be used (see :func:`trouble`)."""
    if isinstance(error, FileNotFoundError):
        return True
    # The text of these holds what a server answered, or the name of a folder that may not be read.
    is_refused = isinstance(error, PermissionError) or type(error).__name__ in _REFUSED or _DENIED in str(error)
    return not is_refused and _says(error, _MISSING)


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)
