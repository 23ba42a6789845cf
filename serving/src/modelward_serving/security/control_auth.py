"""Authentication of the operator on the control port, by requests signed with a key that it published."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jwt

from modelward_api.resources.reasons import Reason
from modelward_api.wire import control_token
from modelward_serving.security.key_set import KeySetFile

MIN_PROOF, MAX_PROOF = 64, 1024
"""Bytes of a routing proof; anything else is rejected unread."""
log = logging.getLogger("modelward.serving")


class UnauthorizedControlError(Exception):
    """A request that is not the operator's: a CamelCase reason and a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ProofVerifier:
    """Distinguishes requests of a champion from those of clients, which can send any header."""

    def __init__(self, trust: ControlAuthenticator | None, digest: str, clock: Callable[[], float] = time.time) -> None:
        self._trust = trust
        self._digest = digest
        self._clock = clock
        self._known, self._until = b"", 0.0

    def proves(self, proof: bytes) -> bool:
        """Return whether a proof was signed by the operator for this bundle, and is still valid. Without keys, none is."""
        if self._known and hmac.compare_digest(proof, self._known):
            return self._clock() < self._until
        if self._trust is None or not MIN_PROOF <= len(proof) <= MAX_PROOF:
            return False
        try:
            self._until = self._trust.routed(proof.decode("latin-1"), self._digest)
        except UnauthorizedControlError:
            return False
        self._known = proof
        return True


class ControlAuthenticator:
    """Authenticates control requests with the operator's public keys, from a file that is reloaded when it changes."""

    def __init__(self, path: Path, pod_uid: str, clock: Callable[[], float] = time.time) -> None:
        self._keys = KeySetFile(path, "control port")
        self._pod_uid = pod_uid
        self._clock = clock
        self._seen: dict[str, float] = {}

    def check(self, authorization: str | None, method: str, path: str, body: bytes) -> None:
        """Authenticate a request; a token is valid once.

        Raises:
            UnauthorizedControlError: not from the operator, for another pod or request, expired, or already used.
        """
        if authorization is None or not authorization.startswith("Bearer "):
            raise UnauthorizedControlError(
                Reason.UNSIGNED, "only the operator may use this port: the request has no bearer token"
            )
        claims = self._claims(authorization.removeprefix("Bearer "), self._pod_uid, control_token.REQUIRED)
        if any(claims.get(name) != value for name, value in control_token.bound(method, path, body).items()):
            raise UnauthorizedControlError(Reason.ANOTHER_REQUEST, "the token was signed for another request")
        self._only_once(claims)

    def routed(self, proof: str, digest: str) -> float:
        """Return when a champion's proof for the challenger with this digest expires.

        Raises:
            UnauthorizedControlError: the proof is invalid.
        """
        claims = self._claims(proof, digest, ("iss", "aud", "exp", "sub"))
        if claims["sub"] != control_token.ROUTED:
            raise UnauthorizedControlError(Reason.ANOTHER_REQUEST, "the token was signed for something else")
        return float(claims["exp"]) + control_token.SKEW

    def _claims(self, token: str, audience: str, required: Iterable[str]) -> Mapping[str, Any]:
        try:
            key = self._key(str(jwt.get_unverified_header(token).get("kid")))
            return jwt.decode(
                token,
                key,
                algorithms=[control_token.ALGORITHM],
                issuer=control_token.ISSUER,
                audience=audience,
                leeway=control_token.SKEW,
                options={"require": list(required)},
            )
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as error:
            message = (
                f"token expired or not yet valid (lifetime {control_token.SECONDS} s): check clock skew between nodes"
            )
            raise UnauthorizedControlError(Reason.OUT_OF_TIME, message) from error
        except jwt.InvalidAudienceError as error:
            raise UnauthorizedControlError(Reason.ANOTHER_POD, "the token was signed for another pod") from error
        except (jwt.InvalidTokenError, TypeError, ValueError) as error:  # non-ASCII text, numbers out of range
            raise UnauthorizedControlError(Reason.BAD_TOKEN, "the token was not signed by the operator") from error

    def _key(self, kid: str) -> jwt.PyJWK:
        keys = self._keys.current()
        if kid not in keys:
            message = f"the token's key is not one of the {len(keys)} known keys"
            raise UnauthorizedControlError(Reason.UNKNOWN_KEY, message)
        return keys[kid]

    def _only_once(self, claims: Mapping[str, Any]) -> None:
        now = self._clock()
        self._seen = {jti: until for jti, until in self._seen.items() if until >= now}
        if claims["jti"] in self._seen:
            raise UnauthorizedControlError(Reason.REPEATED, "the token was already used")
        self._seen[claims["jti"]] = float(claims["exp"]) + control_token.SKEW
