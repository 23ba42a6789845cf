"""The key that the counts in models' records are sealed with: made once, and kept."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import replace

from modelward_operator.domain.core.sealing import KEY_BYTES, SealingKey
from modelward_operator.engine.kube.gateway import SECRETS, ConflictError, Gateway, GatewayError
from modelward_operator.manifests import keys

log = logging.getLogger(__name__)

PERIOD = 5.0
"""Seconds between two looks at the Secret."""


class UnreadableKeyError(GatewayError):
    """The Secret holds no key."""


class Keeper:
    """Has the key in force."""

    def __init__(self, key: SealingKey) -> None:
        self.key = key


def new_key() -> SealingKey:
    """A key."""
    return SealingKey(secrets.token_bytes(KEY_BYTES))


async def begin(gateway: Gateway, namespace: str) -> Keeper:
    """Return the key of this installation; create it if there is none.

    If two operators create it at once, one uses the other's.

    A Secret without a key stops nothing: rollbacks continue with a temporary key, and evidence starts again.
    """
    while True:
        try:
            found = await _look(gateway, namespace)
        except UnreadableKeyError as error:
            log.error("record key: %s. Until then counts are sealed with a key of this process alone", error)
            return Keeper(new_key())
        if found is not None:
            return Keeper(found)
        key = replace(new_key(), reads_plain=True)
        try:
            await gateway.create(SECRETS, keys.record_secret(namespace, key))
        except ConflictError:
            continue
        log.info("record key: made in Secret %s", keys.RECORD_SECRET)
        return Keeper(key)


async def hold(gateway: Gateway, namespace: str, keeper: Keeper, period: float = PERIOD) -> None:
    """Put the Secret back when somebody has deleted it, and take the key that somebody has restored. For ever."""
    while True:
        await asyncio.sleep(period)
        try:
            await keep(gateway, namespace, keeper)
        except GatewayError as error:
            log.warning("record key: %s", error)  # keep the one in memory


async def keep(gateway: Gateway, namespace: str, keeper: Keeper) -> None:
    """Check once. No count is lost: the counts in memory are sealed again with the current key."""
    found = await _look(gateway, namespace)
    if found is None:
        await gateway.create(SECRETS, keys.record_secret(namespace, keeper.key))
        log.warning("record key: Secret %s was deleted, and is put back", keys.RECORD_SECRET)
    elif found != keeper.key:
        keeper.key = found
        log.warning("record key: Secret %s has another key, which is used from now on", keys.RECORD_SECRET)


async def _look(gateway: Gateway, namespace: str) -> SealingKey | None:
    manifest = await gateway.get(SECRETS, namespace, keys.RECORD_SECRET)
    if manifest is None:
        return None
    try:
        return keys.read_record_key(manifest)
    except ValueError as error:
        raise UnreadableKeyError(0, str(error)) from error
