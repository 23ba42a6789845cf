"""Which requests the challenger gets: pure, with the clock and chance as arguments."""

from __future__ import annotations

import hashlib

from modelward_api.wire.exchange import LeaseState, PairedEvidence, TrafficLease
from modelward_serving.counting.pairs import OPENING, Counts, PairedResult, Tally, count_pair

MAX_CHALLENGERS = 8


class LeaseHolder:
    """The lease in force, and the tallies of the challengers so far, of all requests and by stratum."""

    def __init__(self, model: str, digest: str, strata: tuple[str, ...] = ()) -> None:
        self._model = model
        self._digest = digest
        self._strata = strata
        self._lease: TrafficLease | None = None
        self._routes_by: TrafficLease | None = None
        """The lease, unless its challenger was found to fail hard: looked at for each request, so not derived for each."""
        self.may_drain = False
        """Whether the lease says so, in force or not."""
        self._until = 0.0
        self._newest = (0, 0)
        """Epoch and sequence of the newest that was told: what comes late is older."""
        self._tallies: dict[str, Tally] = {}

    def take(self, epoch: int, lease: TrafficLease | None, now: float, end: int | None = None) -> str | None:
        """Hold a lease from now on (None: none; ``end`` is its sequence). Returns why it was refused, or None."""
        if epoch < self._newest[0]:
            return "StaleEpoch"
        if lease is not None and lease.model != self._model:
            return "WrongModel"
        if lease is not None and lease.champion != self._digest:
            return "WrongDigest"
        told = max(self._newest, (epoch, 0)) if end is None else (epoch, end)
        if lease is not None:
            told = (max(epoch, lease.epoch), lease.sequence)
        if told < self._newest:
            return "StaleEpoch"
        self._newest, self._lease, self._routes_by = told, lease, None
        self.may_drain = lease is not None and lease.turn_away
        if lease is not None:
            self._until = now + lease.ttl_seconds
            if not self._tally(lease.challenger.digest).tripped:
                self._routes_by = lease
        return None

    def active(self, now: float) -> TrafficLease | None:
        """The lease that is in force, unless its challenger was found to fail hard."""
        return self._routes_by if self._routes_by is not None and now < self._until else None

    def draining(self, now: float) -> bool:
        """Whether callers shall connect anew, because the Service selects this pod no longer."""
        return self.may_drain and now < self._until

    def state(self, now: float) -> LeaseState | None:
        """What is done with the lease now."""
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
        """The plain counts of one challenger, to count in; they are its counts for as long as it holds the lease."""
        return self._tally(digest).whole.plain

    def record_response(self, digest: str, fallback: bool) -> None:
        """A request was the challenger's by weight: its caller got its answer, or the champion's."""
        self._tally(digest).whole.plain["fallbacks" if fallback else "answered"] += 1

    def record_pair(self, digest: str, pair: PairedResult) -> None:
        """Count one pair; trip on a hard failure."""
        tally = self._tally(digest)
        count_pair(tally.whole, pair)
        for stratum in pair.strata:
            count_pair(tally.strata[stratum], pair)
        if pair.invalid and not pair.error_champion:
            self._trip(digest, tally, "InvalidAnswer")
        elif tally.whole.plain["opening_errors"] > OPENING / 2:
            self._trip(digest, tally, "OpeningErrors")

    def evidence(self) -> tuple[PairedEvidence, ...]:
        """All tallies."""
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
    """A number in [0, 1) for a request: always the same for the same sticky value, else by chance."""
    if sticky is None:
        return chance
    hashed = hashlib.blake2b(f"{model}\0{sticky}".encode(), digest_size=8).digest()
    return int.from_bytes(hashed) / 2**64
