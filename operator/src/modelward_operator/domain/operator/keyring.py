"""The keys with which the operator signs requests to serving pods, and their rotation. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from modelward_api.base import Document, Timestamp
from modelward_operator.domain.core.clock import elapsed, stamp

LIFE = 30 * 24 * 3600.0
"""Seconds for which a key signs."""
SPREAD = 600.0
"""Seconds for which a key is published before it signs, and after its successor does: kubelets update files late."""


class SigningKey(Document):
    """One key pair."""

    key: dict[str, str]
    """The private JSON Web Key, with its ``kid``."""
    since: Timestamp
    """The time from which it signs."""


class Keyring(Document):
    """All keys that serving pods accept, oldest first."""

    keys: tuple[SigningKey, ...] = ()


def turned(ring: Keyring, now: datetime, make: Callable[[], dict[str, str]]) -> Keyring:
    """Return the ring with a successor where one is due, and without expired keys. Mostly equal to ``ring``."""
    keys = ring.keys
    while len(keys) > 1 and elapsed(keys[1].since, now) >= SPREAD:
        keys = keys[1:]
    if not keys:
        keys = (SigningKey(key=make(), since=stamp(now)),)
    elif elapsed(keys[-1].since, now) >= LIFE:
        keys = (*keys, SigningKey(key=make(), since=stamp(now + timedelta(seconds=SPREAD))))
    return Keyring(keys=keys)


def signs(ring: Keyring, now: datetime) -> dict[str, str]:
    """Return the key that signs now: the newest whose time has come, else the oldest (a clock went back).

    Raises:
        LookupError: the ring is empty.
    """
    if not ring.keys:
        raise LookupError("no key is there to sign with")
    begun = [k for k in ring.keys if datetime.fromisoformat(k.since) <= now]
    return (begun[-1] if begun else ring.keys[0]).key


def published(ring: Keyring) -> dict[str, object]:
    """Return the public keys as a JSON Web Key Set."""
    public = ("kty", "crv", "x", "kid", "alg", "use")
    return {"keys": [{name: k.key[name] for name in public if name in k.key} for k in ring.keys]}
