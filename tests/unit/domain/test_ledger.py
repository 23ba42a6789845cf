"""Counts by stratum in the ledger: loss, repetition, reordering, folding and a restart change nothing."""

from __future__ import annotations

import random

from modelward_api.wire import ExchangeResponse, PairedCounts, PairedEvidence, ProfileCounts
from modelward_operator.desired.record import config_map, read
from modelward_operator.domain import ledger
from modelward_operator.domain.record import Ledger, ModelRecord
from tests.unit.domain.given import digest

CHAMPION, CHALLENGER = digest("1"), digest("2")


def reading(instance, women, men=0):
    """What a pod tells after so many pairs, and as many rows, of each."""
    strata = {"sex=f": PairedCounts(pairs=women), "sex=m": PairedCounts(pairs=men)}
    paired = PairedEvidence(challenger=CHALLENGER, counts=PairedCounts(pairs=women + men), strata=strata)
    cells = {"sex=f": {"score": (women, 0), "age": (women, 0)}, "sex=m": {"score": (men, 0), "age": (men, 0)}}
    profile = ProfileCounts(rows=women + men, features={"score": (women + men, 0)}, strata=cells)
    return ExchangeResponse(
        pod=instance,
        instance=instance,
        model="m",
        version="1.0.0",
        digest=CHAMPION,
        evidence=(paired,),
        profile=profile,
    )


def totals(kept):
    pairs = {name: own.pairs for name, own in ledger.strata_totals(kept, CHALLENGER, CHAMPION).items()}
    rows = {name: sum(own["score"]) for name, own in ledger.profile_totals(kept, CHAMPION).strata.items()}
    assert pairs == rows
    return pairs


def test_readings_that_are_lost_repeated_and_out_of_order_change_nothing():
    told = [reading("a", n, 2 * n) for n in range(1, 30)] + [reading("b", n) for n in range(1, 20)]
    random.Random(3).shuffle(told)
    kept = Ledger()
    for response in [*told, *told[::3], reading("a", 29, 58), reading("b", 19)]:
        kept = ledger.merge(kept, [response])
    assert totals(kept) == {"sex=f": 48, "sex=m": 58}


def test_pods_that_are_long_gone_are_folded_and_not_counted_again():
    kept = Ledger()
    for pod in range(ledger.MOST_INSTANCES + 20):
        kept = ledger.merge(kept, [reading(f"pod-{pod}", 2, 1)])
    total = totals(kept)
    assert total == {"sex=f": 2 * (ledger.MOST_INSTANCES + 20), "sex=m": ledger.MOST_INSTANCES + 20}
    assert totals(ledger.merge(kept, [reading("pod-0", 500)])) == total
    assert len(kept.strata[CHALLENGER]) <= ledger.MOST_INSTANCES + 1


def test_a_restart_of_the_operator_changes_nothing():
    kept = ledger.merge(Ledger(), [reading("a", 5, 6)])
    assert totals(read(config_map("n", "m", ModelRecord(ledger=kept))).ledger) == {"sex=f": 5, "sex=m": 6}


def test_evidence_against_another_champion_says_nothing_of_a_subgroup():
    kept = ledger.merge(Ledger(), [reading("a", 5, 6)])
    assert ledger.strata_totals(kept, CHALLENGER, digest("9")) == {}


def test_only_what_a_monitor_watches_by_stratum_is_kept():
    kept = ledger.merge(Ledger(), [reading("a", 5, 6)])
    for watched, left in (({"score"}, {"score"}), ({"score", "age"}, {"score", "age"}), (set(), None)):
        strata = ledger.keep_only(kept, {CHALLENGER}, {CHAMPION}, set(), watched).profiles[CHAMPION]["a"].strata
        assert (set(strata["sex=f"]) if strata else None) == left


def test_what_came_since_a_window_began_is_told_by_stratum():
    start = ledger.profile_totals(ledger.merge(Ledger(), [reading("a", 5, 6)]), CHAMPION)
    total = ledger.profile_totals(ledger.merge(Ledger(), [reading("a", 9, 6)]), CHAMPION)
    assert ledger.since(total, start).strata["sex=f"]["score"] == (4, 0)
    assert ledger.since(start, total) is None
    begun = start.model_copy(update={"strata": {"sex=m": start.strata["sex=m"]}})
    assert set(ledger.since(total, begun).strata) == {"sex=m"}, "the other window has yet to begin"
