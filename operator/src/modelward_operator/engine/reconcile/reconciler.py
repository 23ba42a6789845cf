"""Dispatch each key of the work queue to the reconciler of its kind."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import aiohttp

from modelward_api import names
from modelward_operator.engine.kube.gateway import ConflictError, Gateway
from modelward_operator.engine.kube.kinds import MODEL
from modelward_operator.engine.kube.watch_cache import WatchCache
from modelward_operator.engine.pods.control_client import Exchange
from modelward_operator.engine.queue import Key
from modelward_operator.engine.reconcile.attempts import CONFLICT_RETRY
from modelward_operator.engine.reconcile.batch import BatchReconciler, Score
from modelward_operator.engine.reconcile.model import Advance, ModelReconciler
from modelward_operator.engine.reconcile.record_key import Keeper
from modelward_operator.engine.reconcile.training import Train, TrainingReconciler
from modelward_operator.engine.telemetry import metrics
from modelward_operator.manifests.settings import Settings

Work = Callable[[Key], Awaitable[float | None]]


def _now() -> datetime:
    return datetime.now(UTC)


class Reconciler:
    """The reconcilers of all kinds of keys; the decisions are functions passed to them."""

    def __init__(
        self,
        gateway: Gateway,
        exchange: Exchange,
        session: aiohttp.ClientSession,
        settings: Settings,
        advance: Advance,
        train: Train,
        score: Score,
        record_key: Keeper,
        *,
        fresh: Gateway | None = None,
        cache: WatchCache | None = None,
        progress_port: int = names.PROGRESS_PORT,
        now: Callable[[], datetime] = _now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = ModelReconciler(gateway, exchange, settings, advance, record_key, now, monotonic, fresh, cache)
        self.training = TrainingReconciler(gateway, session, settings, train, now, progress_port)
        self.batch = BatchReconciler(fresh or gateway, settings, score, now)
        self.by_kind: Mapping[str, Work] = {
            MODEL: self.model,
            "TrainingJob": self.training,
            "ScoreBatch": self.batch,
        }
        """By the kind of a key: see ``kinds.RECONCILED``."""

    async def __call__(self, key: Key) -> float | None:
        """Reconcile a key; return the seconds until the next look, or None."""
        with metrics.reconcile(key.kind):
            try:
                return await self.by_kind[key.kind](key)
            except ConflictError:
                metrics.CONFLICTS.labels(key.kind).inc()
                return CONFLICT_RETRY
