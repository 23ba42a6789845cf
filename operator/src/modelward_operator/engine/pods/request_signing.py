"""The operator's signature on its requests to serving pods; keys are stored, published and rotated."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from modelward_api import names
from modelward_api.wire import control_token
from modelward_operator.domain.operator import keyring
from modelward_operator.domain.operator.keyring import Keyring
from modelward_operator.engine.kube.gateway import (
    CONFIG_MAPS,
    SECRETS,
    ConflictError,
    Gateway,
    GatewayError,
    NamespaceEndsError,
)
from modelward_operator.manifests import keys

log = logging.getLogger(__name__)

PERIOD = 5.0
PUBLISH_PERIOD = 300.0
"""Seconds after which the public keys are written again, in case others have changed them."""
LOOK_PERIOD, LOOKS_A_SECOND = 5.0, 10
"""Seconds between two checks that each namespace still has them: pods cannot start without them."""


class Signer:
    """Signs with the current key, and publishes the public keys."""

    def __init__(self, ring: Keyring) -> None:
        self.ring = ring
        self._told: dict[str, tuple[Keyring, float]] = {}
        self._proofs: dict[str, tuple[str, int]] = {}
        """By a challenger's digest: the newest proof, and when it was signed."""
        self._loaded: tuple[dict[str, str], jwt.PyJWK] | None = None

    def sign(self, pod_uid: str, method: str, path: str, body: bytes, now: datetime | None = None) -> str:
        """Return a token for one request to one pod."""
        now = now or datetime.now(UTC)
        issued = int(now.timestamp())
        claims = {
            "aud": pod_uid,
            "iat": issued,
            "exp": issued + control_token.SECONDS,
            "jti": secrets.token_hex(12),
            **control_token.bound(method, path, body),
        }
        return self._signed(claims, now)

    def prove(self, digest: str, now: datetime | None = None) -> str:
        """Return the proof that a champion shows the challenger's pods; the same one is returned for a while."""
        now = now or datetime.now(UTC)
        issued = int(now.timestamp())
        known = self._proofs.get(digest)
        if known is not None and 0 <= issued - known[1] < control_token.ROUTED_SECONDS / 2:
            return known[0]
        self._proofs = {d: p for d, p in self._proofs.items() if abs(issued - p[1]) < control_token.ROUTED_SECONDS}
        claims = {
            "aud": digest,
            "sub": control_token.ROUTED,
            "iat": issued,
            "exp": issued + control_token.ROUTED_SECONDS,
        }
        proof = self._signed(claims, now)
        self._proofs[digest] = proof, issued
        return proof

    def _signed(self, claims: Mapping[str, object], now: datetime) -> str:
        key = keyring.signs(self.ring, now)
        if self._loaded is None or self._loaded[0] != key:  # loading a key takes longer than signing
            self._loaded = key, jwt.PyJWK.from_dict(key)
        payload = {"iss": control_token.ISSUER, **claims}
        return jwt.encode(payload, self._loaded[1], control_token.ALGORITHM, {"kid": key["kid"]})

    async def publish(self, gateway: Gateway, namespace: str, clock: float) -> None:
        """Publish the public keys in a namespace, before pods start that need them."""
        ring, when = self._told.get(namespace, (None, 0.0))
        if ring == self.ring and clock - when < PUBLISH_PERIOD:
            return
        ring = self.ring
        try:
            await gateway.apply(CONFIG_MAPS, keys.config_map(namespace, ring))
        except NamespaceEndsError:
            return
        self._told[namespace] = (ring, clock)

    async def restore(self, gateway: Gateway) -> None:
        """Restore the public keys wherever others have deleted or changed them."""
        for namespace, (ring, when) in list(self._told.items()):
            wanted = keys.config_map(namespace, ring)
            found = await gateway.get(CONFIG_MAPS, namespace, names.CONTROL_KEYS)
            if found is not None and found.get("data") == wanted["data"]:
                continue
            try:
                await gateway.apply(CONFIG_MAPS, wanted)
            except GatewayError as error:
                if isinstance(error, NamespaceEndsError) or error.status == 404:
                    self._told.pop(namespace, None)
                    continue
                raise
            self._told[namespace] = (ring, when)
            log.info("keys: restored in namespace %s", namespace)

    @property
    def look_period(self) -> float:
        """Seconds until the next check, so that many namespaces cost a few calls a second."""
        return max(LOOK_PERIOD, len(self._told) / LOOKS_A_SECOND)


async def watch_over(gateway: Gateway, signer: Signer) -> None:
    """Restore deleted public keys, forever."""
    while True:
        await asyncio.sleep(signer.look_period)
        try:
            await signer.restore(gateway)
        except GatewayError as error:
            log.warning("keys: %s", error)


def new_key() -> dict[str, str]:
    """Return a new key pair as a private JSON Web Key."""
    found: dict[str, str] = json.loads(OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate()))
    return {**found, "kid": secrets.token_hex(8), "alg": control_token.ALGORITHM, "use": "sig"}


async def begin(gateway: Gateway, namespace: str) -> Signer:
    """Return a signer with the keys of this installation; create them if there are none."""
    while True:
        try:
            return Signer(await _look(gateway, namespace))
        except ConflictError:
            continue


async def hold(gateway: Gateway, namespace: str, signer: Signer, period: float = PERIOD) -> None:
    """Rotate the keys when it is time, and create new ones if they were deleted, forever."""
    while True:
        await asyncio.sleep(period)
        try:
            signer.ring = await _look(gateway, namespace)
        except GatewayError as error:
            log.warning("keys: %s", error)  # the current keys stay in use


async def _look(gateway: Gateway, namespace: str) -> Keyring:
    now, manifest = datetime.now(UTC), await gateway.get(SECRETS, namespace, keys.SECRET)
    if manifest is None:
        ring = keyring.turned(Keyring(), now, new_key)
        await gateway.create(SECRETS, keys.secret(namespace, ring))
        log.info("keys: created in Secret %s", keys.SECRET)
        return ring
    ring = _readable(manifest)
    turned = keyring.turned(ring, now, new_key)
    if turned != ring:
        written = keys.secret(namespace, turned)
        written["metadata"]["resourceVersion"] = manifest["metadata"]["resourceVersion"]
        await gateway.replace(SECRETS, written)
        log.info("keys: rotated, %d are published", len(turned.keys))
    return turned


def _readable(manifest: dict[str, object]) -> Keyring:
    try:
        return keys.read(manifest)
    except ValueError as error:
        raise GatewayError(0, str(error)) from error
