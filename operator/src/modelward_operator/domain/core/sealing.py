"""Encryption of the counts in a record, which only the operator may read. Pure: equal counts give equal bytes.

AES-SIV (RFC 5297) is authenticated and deterministic, so a record with unchanged counts is not written again. It reveals
whether two ledgers of one model are equal; so do the writes of the ConfigMap.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

KEY_BYTES = 64
"""AES-256 for encryption, and for authentication."""
PADDED_TO = 4096
"""Bytes. The length must not reveal how many digits a count has."""
_MAGIC, _ID_BYTES = b"MWSEAL1", 8


class OtherKeyError(ValueError):
    """The counts were sealed with a key that no longer exists."""


class BrokenSealError(ValueError):
    """The counts were changed after sealing, or belong to another model."""


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The key of one installation."""

    secret: bytes = field(repr=False)
    reads_plain: bool = field(default=False, repr=False, compare=False)
    """Whether counts that are not sealed may be from an earlier release: only while the operator that made the key runs. Later
    they are somebody's who may write a ConfigMap and would promote a version with counts that no pod has made."""

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")

    @property
    def id(self) -> bytes:
        """Identifies the key without revealing it."""
        return hashlib.sha256(b"modelward record key" + self.secret).digest()[:_ID_BYTES]


def seal(key: SealingKey, namespace: str, model: str, plain: bytes) -> bytes:
    """The bytes that may stand where others read. ``plain`` must bear zeros at its end, as gzip does."""
    padded = plain + bytes(-len(plain) % PADDED_TO)
    return _MAGIC + key.id + AESSIV(key.secret).encrypt(padded, _bound(namespace, model))


def is_sealed(written: bytes) -> bool:
    """Whether it was sealed with any key."""
    return written.startswith(_MAGIC)


def unseal(key: SealingKey, namespace: str, model: str, sealed: bytes) -> bytes:
    """Return what was sealed for this model, padded with zeros.

    Raises:
        OtherKeyError: it was sealed with another key.
        BrokenSealError: somebody has changed it, or taken it from elsewhere.
    """
    head, body = sealed[: len(_MAGIC) + _ID_BYTES], sealed[len(_MAGIC) + _ID_BYTES :]
    if head[len(_MAGIC) :] != key.id:
        raise OtherKeyError
    try:
        return AESSIV(key.secret).decrypt(body, _bound(namespace, model))
    except (InvalidTag, ValueError) as error:
        raise BrokenSealError from error


def _bound(namespace: str, model: str) -> list[bytes]:
    return [namespace.encode(), model.encode()]
