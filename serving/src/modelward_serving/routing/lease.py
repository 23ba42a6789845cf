"""The traffic lease: which requests a challenger gets. Pure, with clock and chance as arguments."""

from __future__ import annotations

import hashlib

from modelward_api.resources.reasons import Reason
from modelward_api.wire.exchange import OPENING_PAIRS, LeaseState, PairedEvidence, TrafficLease
from modelward_serving.counting.pairs import Counts, PairedResult, Tally, count_pair

MAX_CHALLENGERS = 8


class LeaseHolder:
    """The lease in force, and the counts of challengers, overall and by stratum."""

    def __init__(self, model: str, digest: str, strata: tuple[str, ...] = ()) -> None:
        self._model = model
        self._digest = digest
        self._strata = strata
        self._lease: TrafficLease | None = None
        self._routes_by: TrafficLease | None = None
        """The lease, unless its challenger tripped; kept ready because each request reads it."""
        self.may_drain = False
        """Whether the lease, in force or expired, asks to drain."""
        self._until = 0.0
        self._newest = (0, 0)
        """Epoch and sequence of the newest lease; older ones are stale."""
        self._tallies: dict[str, Tally] = {}

    def take(self, epoch: int, lease: TrafficLease | None, now: float, end: int | None = None) -> str | None:
        """Take a lease, or end it (None, with ``end`` as sequence); return the reason for a refusal, or None."""
        if epoch < self._newest[0]:
            return Reason.STALE_EPOCH
        if lease is not None and lease.model != self._model:
            return Reason.WRONG_MODEL
        if lease is not None and lease.champion != self._digest:
            return Reason.WRONG_DIGEST
        position = max(self._newest, (epoch, 0)) if end is None else (epoch, end)
        if lease is not None:
            position = (max(epoch, lease.epoch), lease.sequence)
        if position < self._newest:
            return Reason.STALE_EPOCH
        self._newest, self._lease, self._routes_by = position, lease, None
        self.may_drain = lease is not None and lease.drain
        if lease is not None:
            self._until = now + lease.ttl_seconds
            if not self._tally(lease.challenger.digest).tripped:
                self._routes_by = lease
        return None

    def active(self, now: float) -> TrafficLease | None:
        """Return the lease in force, unless its challenger tripped."""
        return self._routes_by if self._routes_by is not None and now < self._until else None

    def draining(self, now: float) -> bool:
        """Return whether clients should reconnect because the Service no longer selects this pod."""
        return self.may_drain and now < self._until

    def state(self, now: float) -> LeaseState | None:
        """Return the state of the lease, for the operator."""
        if self._lease is None or now >= self._until:
            return None
        tripped = self._tallies[self._lease.challenger.digest].tripped
        return LeaseState(
            epoch=self._lease.epoch,
            sequence=self._lease.sequence,
            challenger=self._lease.challenger.digest,
            weight=0.0 if tripped else self._lease.weight,
        )

    def counts_of(self, digest: str) -> dict[str, int]:
        """Return the plain counts of one challenger, to be updated in place while it holds the lease."""
        return self._tally(digest).whole.plain

    def record_response(self, digest: str, fallback: bool) -> None:
        """Count a request routed to the challenger: it answered, or the champion did."""
        self._tally(digest).whole.plain["fallbacks" if fallback else "answered"] += 1

    def record_pair(self, digest: str, pair: PairedResult) -> None:
        """Count one pair; trip the challenger on a hard failure."""
        tally = self._tally(digest)
        count_pair(tally.whole, pair)
        for stratum in pair.strata:
            count_pair(tally.strata[stratum], pair)
        if pair.invalid and not pair.error_champion:
            self._trip(digest, tally, Reason.INVALID_ANSWER)
        elif tally.whole.plain["opening_errors"] > OPENING_PAIRS / 2:
            self._trip(digest, tally, Reason.OPENING_ERRORS)

    def evidence(self) -> tuple[PairedEvidence, ...]:
        """Return the counts of all challengers."""
        return tuple(
            PairedEvidence(
                challenger=digest,
                counts=tally.whole.to_wire(),
                strata={stratum: counts.to_wire() for stratum, counts in tally.strata.items()},
                tripped=tally.tripped,
            )
            for digest, tally in self._tallies.items()
        )

    def _trip(self, digest: str, tally: Tally, why: str) -> None:
        tally.tripped = tally.tripped or why
        if self._routes_by is not None and self._routes_by.challenger.digest == digest:
            self._routes_by = None

    def _tally(self, digest: str) -> Tally:
        found = self._tallies.get(digest)
        if found is None:
            held = self._lease.challenger.digest if self._lease is not None else None
            while len(self._tallies) >= MAX_CHALLENGERS:
                self._tallies.pop(next(old for old in self._tallies if old != held))
            found = self._tallies[digest] = Tally(Counts(), {stratum: Counts() for stratum in self._strata})
        return found


def draw(model: str, sticky: str | None, chance: float) -> float:
    """Return a number in [0, 1): fixed for a sticky value, else random."""
    if sticky is None:
        return chance
    hashed = hashlib.blake2b(f"{model}\0{sticky}".encode(), digest_size=8).digest()
    return int.from_bytes(hashed) / 2**64
