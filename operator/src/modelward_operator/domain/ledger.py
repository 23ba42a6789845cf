"""The counts ledger: readings of the serving pods' counters, merged so that loss, repetition and reordering change nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import zip_longest
from operator import add
from typing import TypeVar

from modelward_api.base import Digest
from modelward_api.wire import ExchangeResponse, PairedCounts, ProfileCounts
from modelward_operator.domain.record import Ledger

MOST_INSTANCES = 64
"""Instances kept apart for each pair of versions; older ones are folded into one."""
MOST_FOLDED = 4096
"""Folded instances remembered, so that a pod that comes back from a partition is not counted twice."""

_FOLDED = "folded"

T = TypeVar("T")


def merge(ledger: Ledger, responses: Iterable[ExchangeResponse]) -> Ledger:
    """The ledger with one round's readings.

    Counters of one instance only grow, so the larger reading is the later one. Paired counts are kept by the champion they
    were made against, too: evidence against one champion says nothing about another.
    """
    answers = [response for response in responses if response.instance not in ledger.folded]
    paired = {digest: dict(readings) for digest, readings in ledger.paired.items()}
    profiles = {digest: dict(readings) for digest, readings in ledger.profiles.items()}
    for answer in answers:
        key = instance_key(answer.digest, answer.instance)
        for evidence in answer.evidence:
            readings = paired.setdefault(evidence.challenger, {})
            readings[key] = readings[key].merge(evidence.counts) if key in readings else evidence.counts
        if answer.profile is not None:
            rows = profiles.setdefault(answer.digest, {})
            known = rows.get(answer.instance)
            rows[answer.instance] = answer.profile if known is None else _later(known, answer.profile)
    merged = ledger.model_copy(update={"paired": paired, "profiles": profiles})
    return _fold(merged, {answer.instance for answer in answers})


def tripped(responses: Iterable[ExchangeResponse]) -> dict[Digest, str]:
    """By challenger digest: why a champion pod stopped answering from it on its own."""
    return {
        evidence.challenger: evidence.tripped
        for response in responses
        for evidence in response.evidence
        if evidence.tripped
    }


def paired_totals(ledger: Ledger, challenger: Digest, champion: Digest) -> PairedCounts:
    """All that was counted on the requests that both of these versions scored."""
    prefix = instance_key(champion, "")
    readings = ledger.paired.get(challenger, {})
    return sum((counts for key, counts in readings.items() if key.startswith(prefix)), PairedCounts())


def profile_totals(ledger: Ledger, champion: Digest) -> ProfileCounts:
    """All rows that this version's pods have counted."""
    total = ProfileCounts()
    for counts in ledger.profiles.get(champion, {}).values():
        total = _sum(total, counts)
    return total


def since(total: ProfileCounts, start: ProfileCounts) -> ProfileCounts | None:
    """What was counted after ``start``; None if the total is not a continuation of it (counters were lost)."""
    features: dict[str, tuple[int, ...]] = {}
    for name, cells in total.features.items():
        before = start.features.get(name, (0,) * len(cells))
        if len(before) != len(cells) or any(b > c for b, c in zip(before, cells, strict=True)):
            return None
        features[name] = tuple(c - b for b, c in zip(before, cells, strict=True))
    if start.rows > total.rows or not start.features.keys() <= total.features.keys():
        return None
    return ProfileCounts(rows=total.rows - start.rows, features=features)


def keep_only(
    ledger: Ledger, challengers: Collection[Digest], champions: Collection[Digest], monitors: Collection[str]
) -> Ledger:
    """The ledger without what nobody will ask for again: decided challengers, former champions, deleted monitors."""
    return ledger.model_copy(
        update={
            "paired": _chosen(ledger.paired, challengers),
            "profiles": _chosen(ledger.profiles, champions),
            "windows": _chosen(ledger.windows, monitors),
        }
    )


def instance_key(champion: Digest, instance: str) -> str:
    """The key of one champion pod's paired counts: evidence belongs to a pair of versions."""
    return f"{champion.removeprefix('sha256:')[:16]}/{instance}"


def _chosen(entries: Mapping[str, T], wanted: Collection[str]) -> dict[str, T]:
    return {key: value for key, value in entries.items() if key in wanted}


def _fold(ledger: Ledger, live: Collection[str]) -> Ledger:
    """Sum the oldest instances that did not answer this round into one, as soon as there are too many."""
    gone: list[str] = []
    paired = {}
    for challenger, readings in ledger.paired.items():
        old = _too_many(readings, live)
        gone += [key.rpartition("/")[2] for key in old]
        kept = {key: counts for key, counts in readings.items() if key not in old}
        for key, counts in old.items():
            target = f"{key.partition('/')[0]}/{_FOLDED}"
            kept[target] = kept.get(target, PairedCounts()) + counts
        paired[challenger] = kept
    profiles = {}
    for champion, rows in ledger.profiles.items():
        past = _too_many(rows, live)
        gone += past
        current = {key: counts for key, counts in rows.items() if key not in past}
        for profile in past.values():
            current[_FOLDED] = _sum(current.get(_FOLDED, ProfileCounts()), profile)
        profiles[champion] = current
    if not gone:
        return ledger
    return ledger.model_copy(
        update={"paired": paired, "profiles": profiles, "folded": (*ledger.folded, *dict.fromkeys(gone))[-MOST_FOLDED:]}
    )


def _too_many(readings: Mapping[str, T], live: Collection[str]) -> dict[str, T]:
    excess = len(readings) - MOST_INSTANCES
    if excess <= 0:
        return {}
    candidates = [key for key in readings if key.rpartition("/")[2] not in live and not key.endswith(_FOLDED)]
    return {key: readings[key] for key in candidates[:excess]}


def _later(one: ProfileCounts, other: ProfileCounts) -> ProfileCounts:
    return _cellwise(one, other, max)


def _sum(one: ProfileCounts, other: ProfileCounts) -> ProfileCounts:
    return _cellwise(one, other, add)


def _cellwise(one: ProfileCounts, other: ProfileCounts, combine: Callable[[int, int], int]) -> ProfileCounts:
    names = dict.fromkeys((*one.features, *other.features))
    features = {
        name: tuple(
            combine(a, b) for a, b in zip_longest(one.features.get(name, ()), other.features.get(name, ()), fillvalue=0)
        )
        for name in names
    }
    return ProfileCounts(rows=combine(one.rows, other.rows), features=features)
