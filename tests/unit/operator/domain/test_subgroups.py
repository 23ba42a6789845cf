"""Subgroups, sentence by sentence: a harm that only one suffers, and what is not told of few."""

from __future__ import annotations

import json
import re
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_api.bundle.documents import Signature
from modelward_api.resources.modelversion import Analysis
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.evidence import statistics
from modelward_operator.domain.evidence.publication import MIN_OF_STRATUM
from modelward_operator.domain.evidence.shown import MAX_SHOWN
from modelward_operator.domain.evidence.subgroups import assess
from tests.bench.evidence.groups import Groups, rollouts
from tests.support.builders import clean, condition, decide, digest, documents, observed, phases, version
from tests.unit.operator.domain.test_rollout import canary, champion

WOMEN = clean(400, errors_challenger=30, errors_champion=3)
MEN = clean(3600, errors_challenger=70, errors_champion=90)
BOTH = {"sex=f": WOMEN, "sex=m": MEN}
WHOLE = WOMEN + MEN


DEFAULT = Analysis()


def told(strata, analysis=DEFAULT, whole=None):
    counts = whole or sum(strata.values(), PairedCounts())
    return assess(counts, None, strata, analysis)


def test_a_harm_that_only_one_subgroup_suffers_is_seen_though_the_average_looks_fine():
    average = decide(observed(champion(), canary(), serves="v1", paired=WHOLE))
    assert phases(average)["v2"] == "Promoting"
    decision = decide(observed(champion(), canary(), serves="v1", paired=WHOLE, strata=BOTH))
    status = decision.statuses["v2"]
    assert phases(decision) == {"v1": "Champion", "v2": "RolledBack"}
    assert status.message.startswith(
        "Harm in sex=f: more errors than the champion on about 400 paired requests (log-evidence above "
    )
    assert condition(decision, "v2", "RolledBack").reason == "SubgroupHarm"
    assert [q.reason for q in decision.record.quarantined] == ["SubgroupHarm"]
    assert {s.stratum: s.state for s in status.subgroups} == {"sex=f": "Harm", "sex=m": "Bounded"}
    assert decision.record.decisions[-1].evidence.subgroups == status.subgroups


def test_figures_of_a_group_are_told_where_every_group_of_its_column_has_twenty_failures():
    strata = {
        "sex=f": clean(400, errors_challenger=75, errors_champion=20),
        "sex=m": clean(3600, errors_challenger=20, errors_champion=100),
    }
    found = told(strata)
    assert found.message.startswith(
        "Harm in sex=f: 12% more errors than the champion on about 400 paired requests (log"
    )
    less = told({**strata, "sex=m": clean(3600, errors_challenger=19, errors_champion=100)})
    assert less.message.startswith("Harm in sex=f: more errors than the champion on about 400 paired requests (log-")
    assert [(s.estimate, s.log_evidence) for s in less.subgroups] == [(None, None)] * 2


MARRED = {"late": {"late_challenger": 60}, "flips": {"flips": 60}}
SPARED = {"late": {"late_champion": 60}, "flips": {}}


@pytest.mark.parametrize("signal", MARRED)
def test_deadlines_and_decisions_are_guarded_in_each_subgroup_too(signal):
    found = told({"sex=f": clean(200, **MARRED[signal]), "sex=m": clean(3000, **SPARED[signal])})
    assert found.reason == "SubgroupHarm"


def test_subgroups_that_are_only_reported_roll_nothing_back_and_cost_the_others_nothing():
    reported = Analysis(subgroups="report")
    found = told(BOTH, reported)
    assert (found.verdict, found.subgroups[0].state) == ("Pass", "Harm")
    plain = assess(WHOLE, None, {}, reported)
    assert found.signals == plain.signals


def test_subgroups_take_one_share_of_alpha():
    needed = next(s.evidence_needed for s in told(BOTH).signals if s.name == "errors")
    assert needed == pytest.approx(log(5 / 0.05), abs=1e-3), "four signals, and the subgroups"


def test_a_subgroup_with_too_few_pairs_is_insufficient_data_never_a_pass_or_a_zero():
    found = told({"sex=f": clean(MIN_OF_STRATUM - 1), "sex=m": clean(200)})
    few = found.subgroups[0]
    assert (few.state, few.estimate, few.log_evidence) == ("InsufficientData", None, None)
    assert found.verdict == "Hold"


NEEDS = "Holding: sex=f needs about 70 requests of its own without any failure to show errors below 5%"


def test_a_promotion_waits_until_harm_is_bounded_in_each_subgroup_and_says_for_whom():
    found = told({"sex=f": clean(60), "sex=m": clean(690)})
    assert assess(clean(750), None, {}, DEFAULT).verdict == "Pass", "without subgroups it would be promoted"
    assert (found.verdict, found.reason) == ("Hold", "InsufficientEvidence")
    assert found.message == NEEDS
    assert {s.stratum: s.state for s in found.subgroups} == {"sex=f": "Quiet", "sex=m": "Bounded"}
    bounded = told({"sex=f": clean(80), "sex=m": clean(670)})
    assert (bounded.verdict, {s.state for s in bounded.subgroups}) == ("Pass", {"Bounded"})
    some = told({"sex=f": clean(100, errors_challenger=2), "sex=m": clean(900)})
    assert some.message == "Holding: sex=f has yet to show errors below 5%"


def test_what_a_small_group_still_needs_tells_neither_its_pairs_nor_its_failures():
    all_waited_for = Analysis(subgroup_least_share=0)
    messages = {
        told({"sex=f": clean(n, errors_challenger=failed), "sex=m": clean(900)}, all_waited_for, clean(900)).message
        for n in range(MIN_OF_STRATUM)
        for failed in range(min(n, 4) + 1)
    }
    assert messages == {NEEDS}


def test_a_group_whose_estimate_is_not_below_the_margin_has_no_pass_at_the_present_rate_and_may_pass_later():
    failures = {"errors_challenger": 45, "errors_champion": 22}
    others = clean(4000, errors_challenger=20, errors_champion=50)
    found = told({"sex=f": clean(400, **failures), "sex=m": others})
    assert found.message == "Holding: no pass for sex=f at the present rate: it does not show errors below 5% so far"
    later = told({"sex=f": clean(9000, **failures), "sex=m": others}, whole=clean(13000))
    assert later.verdict == "Pass"


def test_only_a_group_that_is_shown_to_be_small_is_too_small_and_a_pass_says_so():
    strata = {"age<18": clean(7), "age>=18": clean(3000)}
    found = told(strata)
    assert found.verdict == "Pass"
    assert found.message.endswith("; too small to bound (under 5% of the requests): age<18")
    assert {s.stratum: (s.state, s.pairs) for s in found.subgroups}["age<18"] == ("TooSmall", "few")
    assert told(strata, Analysis(subgroup_least_share=0)).verdict == "Hold"
    assert told({"age<18": clean(0), "age>=18": clean(60)}, whole=clean(60)).subgroups[0].state == "InsufficientData"
    harmed = told({"age<18": clean(90, errors_challenger=30), "age>=18": clean(9000, errors_champion=30)})
    assert harmed.reason == "SubgroupHarm", "small groups are guarded like all others"


def test_a_declared_group_of_which_nothing_was_told_is_waited_for():
    declared = documents("v1")
    signature = {**declared.signature.to_json(), "subgroups": [{"column": "age", "strata": BY_AGE, "cuts": [65]}]}
    declared = declared.model_copy(update={"signature": Signature.model_validate(signature)})
    seen = observed(champion(), canary(), serves="v1", paired=WHOLE, documents={digest("1"): declared})
    decision = decide(seen)
    assert phases(decision)["v2"] == "Canary"
    assert decision.statuses["v2"].verdict == "Hold"


BY_AGE = ["age<65", "age>=65"]


few_or_many = st.integers(0, 4000).flatmap(
    lambda n: st.builds(clean, st.just(n), errors_challenger=st.integers(0, min(n, 40)), flips=st.integers(0, n // 8))
)


@given(st.lists(few_or_many, min_size=1, max_size=6))
def test_whatever_was_counted_a_pass_has_every_group_bounded_or_too_small(strata):
    groups = {f"group {i}": own for i, own in enumerate(strata)}
    found = told(groups)
    states = {s.stratum: s.state for s in found.subgroups}
    if found.verdict == "Pass":
        assert set(states.values()) <= {"Bounded", "TooSmall"}
    for name, own in groups.items():
        bound = statistics.harm_bound(own.errors_challenger, 0, own.pairs, DEFAULT.alpha)
        flips = statistics.rate_bound(own.flips, own.compared, DEFAULT.alpha)
        if states[name] == "Bounded":
            assert bound <= DEFAULT.subgroup_margin + 1e-9
            assert flips <= DEFAULT.flip_allowance + 1e-9
        if states[name] == "TooSmall":
            assert own.pairs < DEFAULT.subgroup_least_share * sum(other.pairs for other in strata)


def test_a_promotion_waits_for_small_subgroups_if_it_is_asked_to():
    strata = {"sex=f": clean(7), "sex=m": clean(3000)}
    found = told(strata, Analysis(subgroup_minimum=200))
    assert (found.verdict, found.message) == (
        "Hold",
        "Holding: few of 200 requests in sex=f (and in 1 more group too few)",
    )
    assert told({"sex=f": clean(200), "sex=m": clean(3000)}, Analysis(subgroup_minimum=200)).verdict == "Pass"


def test_without_declared_subgroups_nothing_is_told_of_them():
    assert assess(WHOLE, None, {}, Analysis()).subgroups == ()


def test_harm_to_all_is_told_as_harm_to_all():
    everybody = clean(400, errors_challenger=80)
    assert told({"sex=f": everybody, "sex=m": everybody}).reason == "HarmShown"


counts = st.integers(0, 3000).flatmap(
    lambda n: st.builds(
        clean,
        st.just(n),
        errors_challenger=st.integers(0, n),
        late_challenger=st.integers(0, n),
        flips=st.integers(0, n),
    )
)


@given(st.lists(counts, min_size=1, max_size=12))
def test_nothing_that_people_read_holds_a_small_number(strata):
    found = told({f"group {chr(97 + i)}": own for i, own in enumerate(strata)}, whole=clean(100_000))
    assert len(found.subgroups) <= MAX_SHOWN
    for subgroup in found.subgroups:
        own = strata[ord(subgroup.stratum[-1]) - 97]
        assert re.fullmatch(r"few|20 or more|about (\d+)", subgroup.pairs) is not None
        if own.pairs < MIN_OF_STRATUM:
            assert (subgroup.estimate, subgroup.log_evidence, subgroup.pairs) == (None, None, "few")
        elif subgroup.estimate:
            rests_on = {"errors": own.errors_challenger, "latency": own.late_challenger, "flips": own.flips}
            assert rests_on[subgroup.signal] >= MIN_OF_STRATUM


def test_a_small_count_does_not_follow_from_the_others():
    found = told({"sex=f": clean(7), "sex=m": clean(208)})
    assert [s.pairs for s in found.subgroups] == ["few", "20 or more"]
    none = told({"sex=f": clean(0), "sex=m": clean(215)})
    assert [s.pairs for s in none.subgroups] == ["few", "20 or more"], "whether there are any is not told, either"
    early = told({"sex=f": clean(7), "sex=m": clean(30)})
    assert [s.pairs for s in early.subgroups] == ["few", "few"], "else women would be 17 at most"
    later = told({"sex=f": clean(20), "sex=m": clean(195)})
    assert [s.pairs for s in later.subgroups] == ["about 20", "about 190"]


def test_each_column_is_told_by_itself():
    strata = {"sex=f": clean(100), "sex=m": clean(120), "age<18": clean(3), "age>=18": clean(217)}
    found = assess(clean(220), None, strata, DEFAULT, [("sex=f", "sex=m"), ("age<18", "age>=18")])
    assert {s.stratum: s.pairs for s in found.subgroups} == {
        "sex=f": "about 100",
        "sex=m": "about 120",
        "age<18": "few",
        "age>=18": "20 or more",
    }


def test_a_group_beside_one_that_is_too_small_to_wait_for_is_not_named_as_it_may_be_bounded():
    found = told({"age<18": clean(7), "age>=18": clean(1500, flips=140)})
    assert found.verdict == "Hold"
    assert "age>=18" not in found.message


def test_of_many_strata_the_most_telling_are_shown_in_the_order_of_their_declaration():
    ages = {f"age {i}": clean(1000, errors_champion=10 * (21 - i), late_champion=10 * (21 - i)) for i in range(20)}
    shown = [subgroup.stratum for subgroup in told(ages, Analysis(flip_allowance=1)).subgroups]
    assert shown == [f"age {i}" for i in range(20 - MAX_SHOWN, 20)]


def test_a_status_of_a_shadow_tells_of_its_subgroups_and_rolls_nothing_back():
    shadow = version("v2", "Shadow", pods=1, rollout={"strategy": "shadow"})
    decision = decide(observed(champion(), shadow, serves="v1", paired=WHOLE, strata=BOTH))
    assert phases(decision)["v2"] == "Shadow"
    assert decision.statuses["v2"].verdict == "Harm"
    assert '"few"' not in json.dumps(decision.statuses["v2"].to_json())


@given(st.lists(st.floats(-20, 60), min_size=1, max_size=40), st.floats(0.001, 0.4))
def test_e_bh_rejects_what_its_definition_says(logs, alpha):
    rejected, needed = statistics.e_bh(logs, alpha)
    ranked = sorted((exp(x) for x in logs), reverse=True)
    k = max((k for k, e in enumerate(ranked, 1) if k * e / len(logs) >= 1 / alpha), default=0)
    assert len(rejected) == k
    assert all(logs[i] >= needed for i in rejected)
    assert not rejected or min(logs[i] for i in rejected) >= max(
        [x for i, x in enumerate(logs) if i not in rejected], default=-99
    )


def test_e_bh_of_one_hypothesis_is_the_plain_test():
    assert statistics.e_bh([log(20)], 0.05)[0] == {0}
    assert statistics.e_bh([log(19.9)], 0.05) == (frozenset(), pytest.approx(log(20)))
    assert statistics.e_bh([], 0.05)[0] == frozenset()


def looks(rates, rng, pairs=60, every=20, until=1200):
    """Log e-values of errors at each look, [looks, strata]: the champion fails at 2%, the challenger at these rates."""
    champion, challenger = rng.random((until, len(rates))) < 0.02, rng.random((until, len(rates))) < rates
    b = np.cumsum(challenger & ~champion, axis=0)[pairs - 1 :: every]
    c = np.cumsum(champion & ~challenger, axis=0)[pairs - 1 :: every]
    known: dict[tuple[int, int], float] = {}
    for pair in {*zip(b.ravel().tolist(), c.ravel().tolist(), strict=True)}:
        known[pair] = statistics.log_evidence_of_harm(*pair)
    return [[known[int(x), int(y)] for x, y in zip(*row, strict=True)] for row in zip(b, c, strict=True)]


def test_without_any_harm_looking_often_at_twelve_strata_calls_it_at_most_as_often_as_alpha_says():
    rng, alpha, runs = np.random.default_rng(11), 0.05, 400
    called = sum(any(statistics.e_bh(look, alpha)[0] for look in looks(np.full(12, 0.02), rng)) for _ in range(runs))
    assert called / runs <= alpha


def test_of_the_strata_that_are_called_harmed_at_most_a_share_of_alpha_is_not():
    rng, alpha, shares, found = np.random.default_rng(12), 0.05, [], 0
    rates = np.array([0.10] * 3 + [0.02] * 9)
    for _ in range(200):
        rejected = next((r for look in looks(rates, rng) if (r := statistics.e_bh(look, alpha)[0])), frozenset())
        shares.append(sum(i >= 3 for i in rejected) / max(1, len(rejected)))
        found += bool(rejected)
    assert np.mean(shares) <= alpha
    assert found / 200 > 0.95, "and harm is found"


@pytest.mark.slow
def test_harm_to_eight_in_a_hundred_is_promoted_at_most_as_often_as_alpha_says():
    ends = rollouts(Groups(share=0.08, champion=0.02, harmed=0.12), runs=40, rng=np.random.default_rng(21), until=4000)
    assert sum(verdict == "Pass" for verdict, _ in ends) / len(ends) <= DEFAULT.alpha
    assert sum(verdict == "Harm" for verdict, _ in ends) / len(ends) > 0.5, "and found, within 4000 requests"


@pytest.mark.slow
def test_without_harm_a_group_of_eight_in_a_hundred_delays_a_promotion_by_a_bounded_number_of_requests():
    ends = rollouts(Groups(share=0.08, champion=0.01, harmed=0.01), runs=20, rng=np.random.default_rng(22), until=8000)
    assert sum(verdict == "Pass" for verdict, _ in ends) >= 19
    assert np.median([requests for _, requests in ends]) < 3000


@pytest.mark.parametrize("pairs", range(20))
def test_below_twenty_requests_a_chosen_minimum_tells_only_whether_there_are_any(pairs):
    strata = {"sex=f": PairedCounts(pairs=pairs, compared=pairs), "sex=m": PairedCounts(pairs=5000, compared=5000)}
    whole = PairedCounts(pairs=5000 + pairs, compared=5000 + pairs, requests=5000 + pairs)
    for minimum in range(2, 20):
        analysis = Analysis(subgroup_minimum=minimum, subgroups="report")
        assert assess(whole, None, strata, analysis).verdict == "Hold"
