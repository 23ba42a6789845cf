"""Counts by stratum in the ledger: loss, repetition, reordering, folding and a restart change nothing."""

from __future__ import annotations

import random

import pytest

from modelward_api.wire.exchange import ExchangeResponse, PairedCounts, PairedEvidence, ProfileCounts
from modelward_operator.domain.core.record import Ledger, ModelRecord
from modelward_operator.domain.evidence import ledger
from modelward_operator.manifests.record import config_map, read
from tests.support.builders import KEY, digest

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
    kept, pods = Ledger(), ledger.MAX_GONE + 20
    for pod in range(pods):
        kept = ledger.merge(kept, [reading(f"pod-{pod}", 2, 1)], {f"pod-{pod}"})
    total = totals(kept)
    assert total == {"sex=f": 2 * pods, "sex=m": pods}
    assert totals(ledger.merge(kept, [reading("pod-0", 500)])) == total
    assert len(kept.strata[CHALLENGER]) == len(kept.profiles[CHAMPION]) == ledger.MAX_GONE + 2
    assert len(kept.gone) == ledger.MAX_GONE


class Fleet:
    """Pods that count, restart and are replaced, and whose answers are lost, late and repeated."""

    def __init__(self, pods, seed):
        self.chance = random.Random(seed)
        self.names = [f"pod-{n}" for n in range(pods)]
        self.instances = {name: f"{name}-0" for name in self.names}
        self.counted = dict.fromkeys(self.instances.values(), 0)
        self.told = {}
        self.late = []
        self.made = pods

    def work(self):
        """Everybody counts; now and then a container starts anew, and a pod is replaced."""
        for name in self.names:
            self.counted[self.instances[name]] += self.chance.randrange(4)
        restarted, replaced = self.chance.sample(range(len(self.names)), 2)
        self._start(self.names[restarted])
        del self.instances[self.names[replaced]]
        self.names[replaced] = f"pod-{self.made}"
        self._start(self.names[replaced])

    def _start(self, name):
        self.made += 1
        self.instances[name] = f"instance-{self.made}"
        self.counted[self.instances[name]] = 0

    def answers(self, missed):
        """What arrives in a round: most answers, some of the round before, some twice, in any order."""
        now = []
        for name in self.names:
            instance = self.instances[name]
            if self.chance.random() < missed:
                continue
            own = reading(instance, self.counted[instance])
            now.append(own.model_copy(update={"pod": name}))
            self.told[instance] = self.counted[instance]
        arrived = [*now, *self.late, *self.chance.sample(now, len(now) // 10)]
        self.late = self.chance.sample(now, 5)
        self.chance.shuffle(arrived)
        return arrived


@pytest.mark.parametrize("missed", [0.02, 0.2])
def test_every_row_that_one_of_a_hundred_pods_told_is_counted_once_whatever_is_missed(missed):
    fleet, kept = Fleet(100, seed=5), Ledger()
    for turn in range(60):
        fleet.work()
        kept = ledger.merge(kept, fleet.answers(missed), set(fleet.names))
        if turn % 20 == 19:
            kept = read(config_map("n", "m", ModelRecord(ledger=kept), KEY), "n", "m", KEY).record.ledger
    assert totals(kept)["sex=f"] == sum(fleet.told.values()) > 0
    assert len(kept.profiles[CHAMPION]) <= len(fleet.names) + ledger.MAX_GONE + 1
    assert len(kept.instances) <= len(fleet.names)


def test_a_pod_that_does_not_answer_is_not_gone():
    fleet = [f"pod-{n}" for n in range(200)]
    kept = ledger.merge(Ledger(), [reading(name, 3) for name in fleet], set(fleet))
    kept = ledger.merge(kept, [], set(fleet))
    kept = ledger.merge(kept, [reading(name, 5) for name in fleet], set(fleet))
    assert totals(kept)["sex=f"] == 5 * len(fleet)


def test_where_it_is_not_known_who_lives_nobody_is_gone():
    kept = ledger.merge(Ledger(), [reading("a", 3)], {"a"})
    assert ledger.merge(kept, [], None).gone == ()
    assert ledger.merge(kept, [], set()).gone == ("a",)


def test_a_restart_of_the_operator_changes_nothing():
    kept = ledger.merge(Ledger(), [reading("a", 5, 6)])
    assert totals(read(config_map("n", "m", ModelRecord(ledger=kept), KEY), "n", "m", KEY).record.ledger) == {
        "sex=f": 5,
        "sex=m": 6,
    }


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
