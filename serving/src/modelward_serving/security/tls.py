"""TLS for callers and towards challengers: contexts made from files, and made anew when the files change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger("modelward.serving")

HTTP_1, HTTP_2 = "http/1.1", "h2"
PERIOD = 5.0
"""Seconds between two looks at the files."""


class UnusableFilesError(Exception):
    """The files are missing or do not fit each other: a CamelCase reason and a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Files:
    """Where certificates are, as PEM."""

    certificate: Path
    key: Path
    authority: Path | None = None
    """Whom to believe that a challenger is one; where there is no such file, whom the system believes."""
    client_authority: Path | None = None
    """Whose clients alone may connect; None: everybody may."""
    server_name: str = "localhost"
    """What a challenger's certificate must be for: the name of the model's Service, as its address is that of a pod."""


class Certificates:
    """The contexts of now.

    A listening socket keeps its context, so ``server`` and ``grpc`` are outer ones that give each new connection the newest
    inner one: not only certificates change that way, an authority can be withdrawn, too. Connections that exist stay.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._seen = self._content()
        self._load()
        self.server, self.grpc = _server(files, HTTP_1), _server(files, HTTP_2)
        self.server.sni_callback = lambda connection, _name, _outer: _replace(connection, self._inner)
        self.grpc.sni_callback = lambda connection, _name, _outer: _replace(connection, self._inner_grpc)

    def outgoing(self) -> dict[str, Any]:
        """What a request to a challenger needs beside its address."""
        return {"ssl": self._client, "server_hostname": self._files.server_name}

    def refresh(self) -> bool:
        """Take changed files over, if they are usable; otherwise what is in force stays. Whether anything changed."""
        content = self._content()
        if content == self._seen:
            return False
        self._seen = content
        try:
            self._load()
        except UnusableFilesError as error:
            log.error("tls: %s; the certificate before stays in force", error)
            return False
        log.info("tls: the certificate has changed")
        return True

    async def follow(self, period: float = PERIOD) -> None:
        """Refresh for ever."""
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
        # A resumed session would not be asked for its certificate again, though its authority may be withdrawn.
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
            message = f"{path} is missing: spec.serving.tls.secretName must be a Secret with tls.crt and tls.key"
            raise UnusableFilesError("TlsSecretMissing", message)
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (ssl.SSLError, OSError) as error:
        message = f"{files.certificate} and {files.key} are no certificate with its key: {_why(error)}"
        raise UnusableFilesError("TlsSecretUnusable", message) from error


def _believe(context: ssl.SSLContext, authority: Path) -> None:
    if not authority.is_file():
        message = f"{authority} is missing: with clientAuthentication the Secret needs a ca.crt, too"
        raise UnusableFilesError("TlsSecretMissing", message)
    try:
        context.load_verify_locations(authority)
    except (ssl.SSLError, OSError) as error:
        raise UnusableFilesError("TlsSecretUnusable", f"{authority} holds no certificates: {_why(error)}") from error


def _why(error: OSError) -> str:
    return str(getattr(error, "reason", None) or type(error).__name__)
