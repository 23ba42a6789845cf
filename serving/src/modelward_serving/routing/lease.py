"""Which requests the challenger gets: pure, with the clock and chance as arguments."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import msgspec

from modelward_api.wire.exchange import LeaseState, PairedCounts, PairedEvidence, TrafficLease

OPENING = 20
MOST_CHALLENGERS = 8


_COUNTED = tuple(name for name, field in PairedCounts.model_fields.items() if field.annotation is int)
_BY_LEVEL = {name: field.default for name, field in PairedCounts.model_fields.items() if name not in _COUNTED}


@dataclass(slots=True)
class Counts:
    """Those of PairedCounts."""

    plain: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))
    by_level: dict[str, list[int]] = field(default_factory=lambda: {name: [*zero] for name, zero in _BY_LEVEL.items()})

    def told(self) -> PairedCounts:
        """As they travel."""
        return PairedCounts(**self.plain, **self.by_level)


@dataclass(slots=True)
class Tally:
    """What is known of one challenger."""

    whole: Counts
    strata: dict[str, Counts]
    tripped: str | None = None


class Pair(msgspec.Struct, frozen=True):
    """What happened on one request that both scored."""

    error_challenger: bool = False
    error_champion: bool = False
    late_challenger: bool = False
    late_champion: bool = False
    invalid: bool = False
    flip: bool | None = None
    """None when there was nothing to compare."""
    slower: tuple[int, int] = (0, 0)
    """How many of LATENCY_LEVELS the challenger's answer took longer than, and the champion's; only if both answered."""
    higher: tuple[int, int] = (0, 0)
    """How many of SCORE_LEVELS the first row's score reaches, the challenger's and the champion's; only if both answered."""
    strata: tuple[str, ...] = ()
    """The strata that the first row is in."""


class LeaseHolder:
    """The lease in force, and the tallies of the challengers so far, of all requests and by stratum."""

    def __init__(self, model: str, digest: str, strata: tuple[str, ...] = ()) -> None:
        self._model = model
        self._digest = digest
        self._strata = strata
        self._lease: TrafficLease | None = None
        self._routes_by: TrafficLease | None = None
        """The lease, unless its challenger was found to fail hard: looked at for each request, so not derived for each."""
        self.may_turn_away = False
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
        self.may_turn_away = lease is not None and lease.turn_away
        if lease is not None:
            self._until = now + lease.ttl_seconds
            if not self._tally(lease.challenger.digest).tripped:
                self._routes_by = lease
        return None

    def active(self, now: float) -> TrafficLease | None:
        """The lease that is in force, unless its challenger was found to fail hard."""
        return self._routes_by if self._routes_by is not None and now < self._until else None

    def turns_away(self, now: float) -> bool:
        """Whether callers shall connect anew, because the Service selects this pod no longer."""
        return self.may_turn_away and now < self._until

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

    def saw_answer(self, digest: str, fallback: bool) -> None:
        """A request was the challenger's by weight: its caller got its answer, or the champion's."""
        self._tally(digest).whole.plain["fallbacks" if fallback else "answered"] += 1

    def saw_pair(self, digest: str, pair: Pair) -> None:
        """Count one pair; trip on a hard failure."""
        tally = self._tally(digest)
        _count_pair(tally.whole, pair)
        for stratum in pair.strata:
            _count_pair(tally.strata[stratum], pair)
        if pair.invalid and not pair.error_champion:
            self._trip(digest, tally, "InvalidAnswer")
        elif tally.whole.plain["opening_errors"] > OPENING / 2:
            self._trip(digest, tally, "OpeningErrors")

    def evidence(self) -> tuple[PairedEvidence, ...]:
        """All tallies."""
        return tuple(
            PairedEvidence(
                challenger=digest,
                counts=tally.whole.told(),
                strata={stratum: counts.told() for stratum, counts in tally.strata.items()},
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
            while len(self._tallies) >= MOST_CHALLENGERS:
                self._tallies.pop(next(old for old in self._tallies if old != held))
            found = self._tallies[digest] = Tally(Counts(), {stratum: Counts() for stratum in self._strata})
        return found


def draw(model: str, sticky: str | None, chance: float) -> float:
    """A number in [0, 1) for a request: always the same for the same sticky value, else by chance."""
    if sticky is None:
        return chance
    hashed = hashlib.blake2b(f"{model}\0{sticky}".encode(), digest_size=8).digest()
    return int.from_bytes(hashed) / 2**64


def _count_pair(counts: Counts, pair: Pair) -> None:
    plain = counts.plain
    plain["pairs"] += 1
    if pair.error_challenger or pair.error_champion:
        _count(plain, "errors", pair.error_challenger, pair.error_champion)
    if pair.late_challenger or pair.late_champion:
        _count(plain, "late", pair.late_challenger, pair.late_champion)
    if pair.invalid and not pair.error_champion:
        plain["invalid"] += 1
    if pair.flip is not None:
        plain["compared"] += 1
        plain["flips"] += pair.flip
        if pair.slower[0] != pair.slower[1]:
            _count_crossed(counts.by_level, "slower", *pair.slower)
        if pair.higher[0] != pair.higher[1]:
            _count_crossed(counts.by_level, "higher", *pair.higher)
    if plain["opening_pairs"] < OPENING:
        plain["opening_pairs"] += 1
        plain["opening_errors"] += pair.error_challenger and not pair.error_champion


def _count(counts: dict[str, int], what: str, challenger: bool, champion: bool) -> None:
    who = "both" if challenger and champion else "challenger" if challenger else "champion"
    counts[f"{what}_{who}"] += 1


def _count_crossed(by_level: dict[str, list[int]], what: str, challenger: int, champion: int) -> None:
    """Count a pair at the levels that only one of the two passed: those from the lower number up to the higher."""
    crossed = by_level[f"{what}_challenger" if challenger > champion else f"{what}_champion"]
    for level in range(min(challenger, champion), max(challenger, champion)):
        crossed[level] += 1
