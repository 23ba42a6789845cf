"""The counts ledger: readings of the serving pods' counters, merged so that loss, repetition and reordering change nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from itertools import zip_longest
from operator import add
from typing import TypeVar

from modelward_api.base import Digest
from modelward_api.wire.exchange import ExchangeResponse, PairedCounts, ProfileCounts
from modelward_operator.domain.core.record import Ledger

MAX_GONE = 16
"""Instances kept apart after they are gone, as an answer of theirs may be late; older ones are folded into one."""
MAX_FOLDED = 4096
"""Folded instances remembered, so that a pod that comes back from a partition is not counted twice."""

_FOLDED = "folded"

T = TypeVar("T")


def merge(ledger: Ledger, responses: Iterable[ExchangeResponse], living: Collection[str] | None = None) -> Ledger:
    """Return the ledger with one round's readings.

    Counters of one instance only grow, so the larger reading is the later one. Paired counts are also kept by champion, because
    evidence against one champion says nothing about another.

    Args:
        ledger: The counts so far.
        responses: What pods told.
        living: The names of the pods that exist, whether they told anything or not; None if that is not known.
    """
    folded = set(ledger.folded)
    answers = [response for response in responses if response.instance not in folded]
    paired = {digest: dict(readings) for digest, readings in ledger.paired.items()}
    strata = {digest: dict(readings) for digest, readings in ledger.strata.items()}
    profiles = {digest: dict(readings) for digest, readings in ledger.profiles.items()}
    for answer in answers:
        key = instance_key(answer.digest, answer.instance)
        for evidence in answer.evidence:
            readings = paired.setdefault(evidence.challenger, {})
            readings[key] = readings[key].merge(evidence.counts) if key in readings else evidence.counts
            if evidence.strata:
                by_stratum = strata.setdefault(evidence.challenger, {})
                by_stratum[key] = _by_stratum(by_stratum.get(key, {}), evidence.strata, PairedCounts.merge)
        if answer.profile is not None:
            rows = profiles.setdefault(answer.digest, {})
            known = rows.get(answer.instance)
            rows[answer.instance] = answer.profile if known is None else _later(known, answer.profile)
    merged = ledger.model_copy(update={"paired": paired, "strata": strata, "profiles": profiles})
    return _fold(_with_instances(merged, answers, living))


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


def strata_totals(ledger: Ledger, challenger: Digest, champion: Digest) -> dict[str, PairedCounts]:
    """The same by stratum of the champion's declared subgroups."""
    prefix = instance_key(champion, "")
    total: dict[str, PairedCounts] = {}
    for key, counts in ledger.strata.get(challenger, {}).items():
        if key.startswith(prefix):
            total = _by_stratum(total, counts, PairedCounts.__add__)
    return total


def profile_totals(ledger: Ledger, champion: Digest) -> ProfileCounts:
    """All rows that this version's pods have counted."""
    total = ProfileCounts()
    for counts in ledger.profiles.get(champion, {}).values():
        total = _sum(total, counts)
    return total


def counting_pods(ledger: Ledger, champion: Digest) -> int:
    """The living pods that have counted rows of this version; at least one."""
    living = set(ledger.instances.values())
    return max(1, sum(instance in living for instance in ledger.profiles.get(champion, {})))


def since(total: ProfileCounts, start: ProfileCounts) -> ProfileCounts | None:
    """Return the counts after ``start``; None if the total does not continue it (counters were lost).

    Strata that ``start`` does not contain are omitted: their window begins later.
    """
    features = _grown(total.features, start.features)
    strata = {name: _grown(_chosen(total.strata.get(name, {}), own), own) for name, own in start.strata.items()}
    if features is None or start.rows > total.rows or not start.features.keys() <= total.features.keys():
        return None
    known = {name: cells for name, cells in strata.items() if cells is not None}
    return (
        None
        if len(known) < len(strata)
        else ProfileCounts(rows=total.rows - start.rows, features=features, strata=known)
    )


def _grown(
    total: Mapping[str, tuple[int, ...]], start: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]] | None:
    features: dict[str, tuple[int, ...]] = {}
    for name, cells in total.items():
        before = start.get(name, (0,) * len(cells))
        if len(before) != len(cells) or any(b > c for b, c in zip(before, cells, strict=True)):
            return None
        features[name] = tuple(c - b for b, c in zip(before, cells, strict=True))
    return features


def keep_only(
    ledger: Ledger,
    challengers: Collection[Digest],
    champions: Collection[Digest],
    monitors: Collection[str],
    by_stratum: Collection[str] = (),
) -> Ledger:
    """Return the ledger without what is no longer needed: decided challengers, former champions, deleted monitors.

    Args:
        ledger: The counts.
        challengers: Whose pairs are kept.
        champions: Whose rows are kept.
        monitors: Whose windows are kept.
        by_stratum: The features, score included, whose cells are kept by stratum, too: the rest would fill the record.
    """
    profiles = {
        champion: {key: _only(counts, by_stratum) for key, counts in rows.items()}
        for champion, rows in _chosen(ledger.profiles, champions).items()
    }
    windows = {name: _only(start, by_stratum) for name, start in _chosen(ledger.windows, monitors).items()}
    return ledger.model_copy(
        update={
            "paired": _chosen(ledger.paired, challengers),
            "strata": _chosen(ledger.strata, challengers),
            "profiles": profiles,
            "windows": windows,
        }
    )


def instance_key(champion: Digest, instance: str) -> str:
    """The key of one champion pod's paired counts: evidence belongs to a pair of versions."""
    return f"{champion.removeprefix('sha256:')[:16]}/{instance}"


def _chosen(entries: Mapping[str, T], wanted: Collection[str]) -> dict[str, T]:
    return {key: value for key, value in entries.items() if key in wanted}


def _only(counts: ProfileCounts, features: Collection[str]) -> ProfileCounts:
    strata = {name: _chosen(cells, features) for name, cells in counts.strata.items()}
    return counts.model_copy(update={"strata": {name: cells for name, cells in strata.items() if cells}})


def _with_instances(ledger: Ledger, answers: Iterable[ExchangeResponse], living: Collection[str] | None) -> Ledger:
    """Return the instances of pods, and those that are gone. A pod that did not answer is not gone: it still counts."""
    instances, gone = dict(ledger.instances), dict.fromkeys(ledger.gone)
    for answer in answers:
        before = instances.get(answer.pod, answer.instance)
        instances[answer.pod] = answer.instance
        gone.pop(answer.instance, None)
        if before != answer.instance:
            gone[before] = None
    if living is not None:
        gone |= {instance: None for pod, instance in instances.items() if pod not in living}
        instances = {pod: instance for pod, instance in instances.items() if pod in living}
    return ledger.model_copy(update={"instances": instances, "gone": tuple(gone)})


def _fold(ledger: Ledger) -> Ledger:
    """Sum the instances that are gone the longest into one, as soon as there are too many of them."""
    old = set(ledger.gone[:-MAX_GONE])
    if not old:
        return ledger
    by_stratum = partial(_by_stratum, combine=PairedCounts.__add__)
    return ledger.model_copy(
        update={
            "paired": {c: _folded(r, old, PairedCounts.__add__) for c, r in ledger.paired.items()},
            "strata": {c: _folded(r, old, by_stratum) for c, r in ledger.strata.items()},
            "profiles": {c: _folded(r, old, _sum) for c, r in ledger.profiles.items()},
            "gone": ledger.gone[-MAX_GONE:],
            "folded": (*ledger.folded, *ledger.gone[:-MAX_GONE])[-MAX_FOLDED:],
        }
    )


def _folded(readings: Mapping[str, T], old: Collection[str], combine: Callable[[T, T], T]) -> dict[str, T]:
    """The readings with the old ones summed, each with those of the same champion."""
    kept: dict[str, T] = {}
    for key, counts in readings.items():
        champion, separator, instance = key.rpartition("/")
        target = f"{champion}{separator}{_FOLDED}" if instance in old else key
        kept[target] = combine(kept[target], counts) if target in kept else counts
    return kept


def _by_stratum(
    one: Mapping[str, PairedCounts],
    other: Mapping[str, PairedCounts],
    combine: Callable[[PairedCounts, PairedCounts], PairedCounts],
) -> dict[str, PairedCounts]:
    nothing = PairedCounts()
    return {s: combine(one.get(s, nothing), other.get(s, nothing)) for s in dict.fromkeys((*one, *other))}


def _later(one: ProfileCounts, other: ProfileCounts) -> ProfileCounts:
    return _cellwise(one, other, max)


def _sum(one: ProfileCounts, other: ProfileCounts) -> ProfileCounts:
    return _cellwise(one, other, add)


def _cellwise(one: ProfileCounts, other: ProfileCounts, combine: Callable[[int, int], int]) -> ProfileCounts:
    strata = dict.fromkeys((*one.strata, *other.strata))
    return ProfileCounts(
        rows=combine(one.rows, other.rows),
        features=_cells(one.features, other.features, combine),
        strata={name: _cells(one.strata.get(name, {}), other.strata.get(name, {}), combine) for name in strata},
    )


def _cells(
    one: Mapping[str, tuple[int, ...]], other: Mapping[str, tuple[int, ...]], combine: Callable[[int, int], int]
) -> dict[str, tuple[int, ...]]:
    names = dict.fromkeys((*one, *other))
    return {
        name: tuple(combine(a, b) for a, b in zip_longest(one.get(name, ()), other.get(name, ()), fillvalue=0))
        for name in names
    }
