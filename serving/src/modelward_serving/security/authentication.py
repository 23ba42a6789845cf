"""Authentication of clients by bearer tokens (JWT), verified offline with the issuer's public keys."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import jwt

from modelward_api.resources.reasons import Reason
from modelward_serving.errors import RefusedError
from modelward_serving.security.key_set import Keys, KeySetFile, parse

log = logging.getLogger("modelward.serving")

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric signatures only: neither shared secrets (HS256) nor unsigned tokens."""
SKEW = 10.0
"""Tolerated clock skew, in seconds."""
REMEMBERED = 60.0
"""Seconds that a verified token is cached."""
MAX_REMEMBERED = 10_000
PERIOD = 60.0
"""Seconds between two fetches of the issuer's keys."""
SOON = 2.0
"""Seconds between two fetches while there are no keys."""
MAX_KEY_SET = 256 * 1024


@dataclass(frozen=True)
class TokenPolicy:
    """Required claims of a token, and the issuer's keys."""

    issuer: str
    audiences: tuple[str, ...]
    """One of these must match."""
    subjects: tuple[str, ...] = ()
    """One of these must match; empty allows any."""
    file: Path | None = None
    """File with the issuer's keys (JWKS),"""
    url: str | None = None
    """or their URL."""


class KeySource(Protocol):
    """Where an issuer's public keys come from."""

    def current(self) -> Keys:
        """Return the keys known now; none until they were read once."""

    async def follow(self) -> None:
        """Keep the keys up to date, until cancelled."""


class KeysInFile(KeySetFile):
    """Keys in a file, which is looked at whenever a token is verified."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "callers")

    async def follow(self) -> None:
        """Do nothing: current() reads the file when it changes."""


class KeysAtUrl:
    """Keys at a URL, fetched periodically. On failure, the previous keys stay in use."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, jwt.PyJWK] = {}

    def current(self) -> Keys:
        """Return the keys that were fetched last."""
        return self._keys

    async def follow(self) -> None:
        """Fetch the keys periodically, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                try:
                    async with session.get(self._url) as answer:
                        answer.raise_for_status()
                        self._keys = parse(await _content_of(answer))
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                    log.warning("callers: cannot fetch the keys at %s: %s", self._url, type(error).__name__)
                await asyncio.sleep(PERIOD if self._keys else SOON)


async def _content_of(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body of a response. One read would return only what has arrived so far."""
    content = b""
    async for part in answer.content.iter_any():
        content += part
        if len(content) > MAX_KEY_SET:
            raise ValueError("a key set is too large")
    return content


class Authenticator:
    """Authenticates clients. A verified token is cached for a minute, by its hash."""

    def __init__(self, rules: TokenPolicy, keys: KeySource, clock: Callable[[], float] = time.time) -> None:
        self._rules = rules
        self._keys = keys
        self._clock = clock
        self._known: dict[bytes, float] = {}

    def check(self, authorization: bytes | None) -> None:
        """Authenticate a request by its Authorization header.

        Raises:
            RefusedError: 401 without a valid token, 403 for a subject that is not allowed, 503 without the issuer's keys.
        """
        if authorization is None or not authorization[:7].lower() == b"bearer ":
            raise _refused(Reason.NO_TOKEN, "a bearer token is required")
        name = hashlib.sha256(authorization).digest()
        now = self._clock()
        if self._known.get(name, 0.0) > now:
            return
        claims = self._claims(authorization[7:].strip())
        if self._rules.subjects and claims.get("sub") not in self._rules.subjects:
            raise RefusedError(403, Reason.WRONG_SUBJECT, "authorization", "the token's subject may not use this model")
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[name] = min(float(claims["exp"]) + SKEW, now + REMEMBERED)

    def _claims(self, token: bytes) -> Mapping[str, Any]:
        keys = self._keys.current()
        if not keys:
            raise RefusedError(
                503, Reason.NO_KEYS, "authorization", "the issuer's keys are not available yet; retry later"
            )
        try:
            key = keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise _refused(Reason.UNKNOWN_KEY, "the token is not signed with one of the issuer's keys")
            return jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=self._rules.issuer,
                audience=self._rules.audiences,
                leeway=SKEW,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as error:
            raise _refused(Reason.OUT_OF_TIME, "the token is expired or not yet valid") from error
        except jwt.InvalidAudienceError as error:
            raise _refused(
                Reason.WRONG_AUDIENCE, f"the token is not for {' or '.join(self._rules.audiences)}"
            ) from error
        except jwt.InvalidIssuerError as error:
            raise _refused(Reason.WRONG_ISSUER, f"the token was not issued by {self._rules.issuer}") from error
        except (jwt.InvalidTokenError, TypeError, ValueError) as error:
            raise _refused(Reason.BAD_TOKEN, "the token cannot be verified") from error


def _refused(reason: str, rule: str) -> RefusedError:
    return RefusedError(401, reason, "authorization", rule)


def callers(rules: TokenPolicy) -> tuple[Authenticator, KeySource]:
    """Return the authenticator of a policy, and the keys to keep up to date."""
    keys: KeySource = KeysInFile(rules.file) if rules.file is not None else KeysAtUrl(rules.url or "")
    return Authenticator(rules, keys), keys
