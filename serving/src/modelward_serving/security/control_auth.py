"""Who may use the control port: whoever signs with a key that the operator has published."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jwt

from modelward_api.wire import control_token
from modelward_serving.security.key_set import KeySetFile

MIN_PROOF, MAX_PROOF = 64, 1024
"""Bytes; what is no token is not looked at further."""
log = logging.getLogger("modelward.serving")


class UnauthorizedControlError(Exception):
    """A request that is not the operator's, and why: a CamelCase reason and a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ProofVerifier:
    """Tells a champion's requests from those of callers, who may send any header."""

    def __init__(self, trust: ControlAuthenticator | None, digest: str, clock: Callable[[], float] = time.time) -> None:
        self._trust = trust
        self._digest = digest
        self._clock = clock
        self._known, self._until = b"", 0.0

    def proves(self, proof: bytes) -> bool:
        """Whether it is the operator's, for this bundle, and holds still. Without the operator's keys nothing is proven."""
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
    """Judges requests by the public keys in a file, which is read again when it changes."""

    def __init__(self, path: Path, pod_uid: str, clock: Callable[[], float] = time.time) -> None:
        self._keys = KeySetFile(path, "control port")
        self._pod_uid = pod_uid
        self._clock = clock
        self._seen: dict[str, float] = {}

    def check(self, authorization: str | None, method: str, path: str, body: bytes) -> None:
        """Accept a request, once.

        Raises:
            DistrustedError: it is not from the operator, not for this pod, not this request, too old, or a repetition.
        """
        if authorization is None or not authorization.startswith("Bearer "):
            raise UnauthorizedControlError("Unsigned", "only the operator may ask: no bearer token was sent")
        claims = self._claims(authorization.removeprefix("Bearer "), self._pod_uid, control_token.REQUIRED)
        if any(claims.get(name) != value for name, value in control_token.bound(method, path, body).items()):
            raise UnauthorizedControlError("AnotherRequest", "the token was signed for another request")
        self._only_once(claims)

    def routed(self, proof: str, digest: str) -> float:
        """Until when a champion's proof holds for the challenger with this digest.

        Raises:
            DistrustedError: it does not.
        """
        claims = self._claims(proof, digest, ("iss", "aud", "exp", "sub"))
        if claims["sub"] != control_token.ROUTED:
            raise UnauthorizedControlError("AnotherRequest", "the token was signed for something else")
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
            message = f"the token holds for {control_token.SECONDS} s: are the clocks of the nodes right?"
            raise UnauthorizedControlError("OutOfTime", message) from error
        except jwt.InvalidAudienceError as error:
            raise UnauthorizedControlError("AnotherPod", "the token was signed for another pod") from error
        except (jwt.InvalidTokenError, TypeError, ValueError) as error:  # text beyond ASCII, numbers beyond all time
            raise UnauthorizedControlError("BadToken", "the token is none of the operator's") from error

    def _key(self, kid: str) -> jwt.PyJWK:
        keys = self._keys.current()
        if kid not in keys:
            message = f"{len(keys)} keys are known, and the token's is not one of them"
            raise UnauthorizedControlError("UnknownKey", message)
        return keys[kid]

    def _only_once(self, claims: Mapping[str, Any]) -> None:
        now = self._clock()
        self._seen = {jti: until for jti, until in self._seen.items() if until >= now}
        if claims["jti"] in self._seen:
            raise UnauthorizedControlError("Repeated", "the token was used before")
        self._seen[claims["jti"]] = float(claims["exp"]) + control_token.SKEW
