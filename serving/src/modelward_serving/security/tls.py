"""TLS contexts for clients and challengers, reloaded when their files change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelward_api.resources.reasons import Reason

log = logging.getLogger("modelward.serving")

HTTP_1, HTTP_2 = "http/1.1", "h2"
PERIOD = 5.0
"""Seconds between two checks of the files."""


class UnusableFilesError(Exception):
    """Files that are missing or inconsistent: a CamelCase reason and a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Files:
    """Paths of PEM files."""

    certificate: Path
    key: Path
    authority: Path | None = None
    """CA certificates that verify challengers; without this file, the system's."""
    client_authority: Path | None = None
    """CA certificates that verify clients; None accepts clients without a certificate."""
    server_name: str = "localhost"
    """Expected name in a challenger's certificate: that of the model's Service, because the address is a pod's."""


class Certificates:
    """The current TLS contexts.

    A listening socket keeps its context, so ``server`` and ``grpc`` are outer contexts that give each new connection the newest
    inner one. So certificates can change, and CAs can be withdrawn. Existing connections stay open.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._seen = self._content()
        self.problem: str | None = None
        """Reason why the files cannot be used now, while the certificate loaded before stays in use."""
        self._load()
        self.server, self.grpc = _server(files, HTTP_1), _server(files, HTTP_2)
        self.server.sni_callback = lambda connection, _name, _outer: _replace(connection, self._inner)
        self.grpc.sni_callback = lambda connection, _name, _outer: _replace(connection, self._inner_grpc)

    def outgoing(self) -> dict[str, Any]:
        """Return the TLS arguments of a connection to a challenger."""
        return {"ssl": self._client, "server_hostname": self._files.server_name}

    def refresh(self) -> bool:
        """Reload changed files, if they are usable; return whether the contexts changed."""
        content = self._content()
        if content == self._seen:
            return False
        self._seen = content
        try:
            self._load()
        except UnusableFilesError as error:
            self.problem = error.reason
            log.error("tls: %s; the previous certificate stays in use", error)
            return False
        self.problem = None
        log.info("tls: certificate reloaded")
        return True

    async def follow(self, period: float = PERIOD) -> None:
        """Reload changed files periodically, until cancelled."""
        while True:
            await asyncio.sleep(period)
            self.refresh()

    def _load(self) -> None:
        files = self._files
        self._inner, self._inner_grpc, self._client = _server(files, HTTP_1), _server(files, HTTP_2), _client(files)

    def _content(self) -> tuple[bytes | None, ...]:
        files = (self._files.certificate, self._files.key, self._files.authority, self._files.client_authority)
        return tuple(path.read_bytes() if path is not None and path.is_file() else None for path in files)


def _replace(connection: ssl.SSLObject | ssl.SSLSocket, context: ssl.SSLContext) -> None:
    connection.context = context


def _server(files: Files, protocol: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([protocol])
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_own(context, files)
    if files.client_authority is not None:
        # A resumed session would not present its certificate again, though its CA may be withdrawn.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        _believe(context, files.client_authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _client(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_own(context, files)
    if files.authority is not None and files.authority.is_file():
        _believe(context, files.authority)
    else:
        context.load_default_certs()
    return context


def _load_own(context: ssl.SSLContext, files: Files) -> None:
    for path in (files.certificate, files.key):
        if not path.is_file():
            message = f"{path} is missing: the Secret of spec.serving.tls.secretName must have tls.crt and tls.key"
            raise UnusableFilesError(Reason.TLS_SECRET_MISSING, message)
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (ssl.SSLError, OSError) as error:
        message = f"{files.certificate} and {files.key} are not a certificate and its key: {_why(error)}"
        raise UnusableFilesError(Reason.TLS_SECRET_UNUSABLE, message) from error


def _believe(context: ssl.SSLContext, authority: Path) -> None:
    if not authority.is_file():
        message = f"{authority} is missing: with clientAuthentication, the Secret must also have ca.crt"
        raise UnusableFilesError(Reason.TLS_SECRET_MISSING, message)
    try:
        context.load_verify_locations(authority)
    except (ssl.SSLError, OSError) as error:
        raise UnusableFilesError(
            Reason.TLS_SECRET_UNUSABLE, f"{authority} contains no certificate: {_why(error)}"
        ) from error


def _why(error: OSError) -> str:
    return str(getattr(error, "reason", None) or type(error).__name__)
