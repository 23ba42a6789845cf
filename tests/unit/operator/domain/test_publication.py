"""Attackers who read every status, Event, metric and record of decisions, and try to get at counts from 1 to 10.

They know more than anybody has: how many requests each stratum got, or how many failed in all. They keep each explanation of all
that was published, release after release, and invert every figure at once. Each attacker is also let loose on the exact figures
of the same counts, where it succeeds: that it fails on what is published is no weakness of the attacker.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_api.bundle.documents import FeatureReference, ReferenceProfile
from modelward_api.resources.modelversion import Analysis, ModelVersionStatus
from modelward_api.small_counts import MIN_SHOWN_COUNT
from modelward_api.wire.exchange import PairedCounts, ProfileCounts
from modelward_operator.domain.drift.detector import Detector, look, read
from modelward_operator.domain.drift.monitoring import Watched, judge
from modelward_operator.domain.evidence import publication, statistics
from modelward_operator.domain.evidence.subgroups import assess
from tests.support.builders import NOW, clean, digest, monitor

FEWEST = 5
"""So many values of a suppressed cell must remain possible."""
ANALYSIS = Analysis()
Strata = dict[str, PairedCounts]


def whole(strata: Strata) -> PairedCounts:
    return sum(strata.values(), PairedCounts())


def published(strata: Strata) -> object:
    """All that is told of them but the times."""
    found = assess(whole(strata), None, strata, ANALYSIS)
    return json.dumps(
        [found.verdict, found.reason, found.message, [p.to_json() for p in (*found.signals, *found.subgroups)]]
    )


def sharp(strata: Strata) -> object:
    """Figures as they are: of four digits for the whole, of two for strata, with suppressed counts as '<11'."""
    told = [f"{whole(strata).pairs} {_figures(whole(strata), 4)}"]
    for name, own in strata.items():
        small = 0 < own.pairs < MIN_SHOWN_COUNT
        told.append(f"{name} {'<11' if small else round(own.pairs, -1)} {_figures(own, 2)}")
    return tuple(told)


def _figures(counts: PairedCounts, digits: int) -> str:
    return " ".join(
        f"{failed / max(1, counts.pairs):.{digits}g} {found:.{digits}g}"
        for failed, found in (
            (counts.errors_challenger, statistics.log_evidence_of_harm(counts.errors_challenger, 0)),
            (counts.late_challenger, statistics.log_evidence_of_harm(counts.late_challenger, 0)),
            (counts.flips, statistics.log_evidence_of_excess(counts.flips, counts.compared, ANALYSIS.flip_allowance)),
        )
    )


def both(women: int, men: int, **failed: tuple[int, int]) -> Strata:
    return {
        "sex=f": clean(women, **{name: pair[0] for name, pair in failed.items()}),
        "sex=m": clean(men, **{name: pair[1] for name, pair in failed.items()}),
    }


def explanations(publish: Callable[[Strata], object], strata: Strata, candidates: Iterable[Strata]) -> list[Strata]:
    seen = publish(strata)
    return [candidate for candidate in candidates if publish(candidate) == seen]


# The first attack: a harm that is called in a stratum of fewer than eleven.


def of_few(n: int, k: int, others: int = 20) -> Strata:
    return both(n, 900, flips=(k, others))


def test_a_harm_among_fewer_than_eleven_requests_tells_neither_how_many_they_are_nor_how_many_were_harmed():
    said = assess(whole(of_few(5, 5)), None, of_few(5, 5), ANALYSIS)
    assert said.reason == "SubgroupHarm"
    assert said.message.startswith("Harm in sex=f: changed decisions on few paired requests (log-evidence above ")
    candidates = [of_few(n, k, m) for n in range(MIN_SHOWN_COUNT) for k in range(n + 1) for m in (12, 16, 20, 24, 28)]
    for n in (5, 7, 10):
        left = explanations(published, of_few(n, n), candidates)
        assert len({found["sex=f"].pairs for found in left}) >= FEWEST, n
        assert len({found["sex=f"].flips for found in left}) >= FEWEST, n
    assert len(explanations(sharp, of_few(5, 5), candidates)) == 1, "the attacker succeeds on exact figures"


# The second: the whole less the other stratum.


def split(publish: Callable[[Strata], object], women: int, men: int, signal: str, failed: tuple[int, int]) -> set[int]:
    """The numbers of failed women that explain what is published, for one who knows how many requests each stratum got."""
    others = {max(0, failed[1] + more) for more in range(-12, 13, 2)} | {failed[1]}
    candidates = [both(women, men, **{signal: pair}) for pair in product(range(min(women, 12) + 1), others)]
    left = explanations(publish, both(women, men, **{signal: failed}), candidates)
    return {getattr(found["sex=f"], signal) for found in left}


SIGNALS = ("errors_challenger", "flips")


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(
    ("women", "men", "failed"),
    [(60, 200, (1, 0)), (40, 150, (5, 0)), (90, 900, (7, 12)), (200, 2000, (4, 31)), (500, 5000, (10, 110))],
)
def test_the_whole_less_the_other_stratum_leaves_open_how_many_failed(women, men, failed, signal):
    left = split(published, women, men, signal, failed)
    assert failed[0] in left
    assert len(left) >= FEWEST, left


def test_a_pass_tells_a_bound_on_failures_and_no_more():
    """It is an inequality of exact counts, and as such it stays in the open."""
    assert assess(whole(both(300, 500)), None, both(300, 500, errors_challenger=(1, 0)), ANALYSIS).verdict == "Pass"
    left = split(published, 300, 500, "errors_challenger", (1, 0))
    assert left == set(range(5)), "of three hundred women at most four failed, else it would not pass"


def test_the_whole_less_the_other_stratum_tells_all_where_figures_are_exact():
    assert split(sharp, 60, 600, "errors_challenger", (3, 0)) == {3}


@pytest.mark.parametrize(
    ("women", "men"), [(1, 100), (1, 109), (2, 95), (3, 9), (5, 101), (7, 203), (9, 488), (10, 495), (4, 1203)]
)
def test_the_whole_less_the_other_stratum_leaves_open_how_many_requests_there_were(women, men):
    around = range(max(0, men - 12), men + 12)
    candidates = [both(w, m) for w, m in product(range(MIN_SHOWN_COUNT + 2), around)]
    left = {found["sex=f"].pairs for found in explanations(published, both(women, men), candidates)}
    assert women in left
    assert len(left) >= FEWEST, left


# The third: statuses in succession.


class Statuses:
    """What a reader has of a rollout: the status as it is rewritten (rollout/status)."""

    def __init__(self, status: ModelVersionStatus | None = None) -> None:
        self.status = status or ModelVersionStatus()

    def see(self, strata: Strata, *, forced: bool = False) -> object:
        """Also when somebody makes it rewritten, as by spec.rollout.paused."""
        found = assess(whole(strata), None, strata, ANALYSIS)
        told, old = (found.signals[0].samples, found.verdict), self.status
        if forced or not old.evidence or (old.evidence[0].samples, old.verdict) != told:
            subgroups = publication.strata(old, *told, found.subgroups)
            update = {"verdict": found.verdict, "evidence": found.signals, "subgroups": subgroups}
            self.status = old.model_copy(update=update | {"message": found.message})
        return json.dumps(self.status.to_json())


def course(seed: int) -> list[tuple[int, int, int, int]]:
    """Requests and failures of women and men, growing from look to look. Few women, of whom some fail."""
    draw = random.Random(seed)
    looks, totals = [], [0, 0, 0, 0]
    women, men = draw.choice([0.1, 0.5, 0.9]), draw.choice([0.0, 0.02, 0.06])
    for _ in range(5):
        for sex, chance, most in ((0, women, draw.randint(0, 5)), (1, men, draw.randint(20, 60))):
            more = sum(draw.random() < chance for _ in range(most))
            totals[sex] += most
            totals[2 + sex] += more
        looks.append(tuple(totals))
    return looks


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
def test_statuses_in_succession_leave_open_how_many_failed(seed, signal):
    """To one who knows at each look how many requests each stratum got, and that counts only grow.

    Four values where a harm of four in four women would have been called.
    """
    before: set[tuple[int, int]] | None = None
    for women, men, failed_women, failed_men in course(seed):
        seen = published(both(women, men, **{signal: (failed_women, failed_men)}))
        possible = {
            (f, m)
            for f, m in product(range(min(women, failed_women + 6) + 1), range(min(men, failed_men + 6) + 1))
            if published(both(women, men, **{signal: (f, m)})) == seen
        }
        if before is not None:
            possible = {now for now in possible if any(now[0] >= f and now[1] >= m for f, m in before)}
        before = possible
        assert (failed_women, failed_men) in possible
        for exact, left, most in (
            (failed_women, {f for f, _ in possible}, women),
            (failed_men, {m for _, m in possible}, men),
        ):
            if 1 <= exact < MIN_SHOWN_COUNT:
                assert len(left) >= min(FEWEST - 1, most + 1), (women, men, failed_women, failed_men, left)


def queue(seed: int) -> list[tuple[int, int]]:
    """Requests of women and men, one by one: few are women's."""
    draw = random.Random(seed)
    chance, women, men, looks = draw.choice([0.01, 0.03, 0.06]), 0, 0, []
    while women + men < 160:
        women, men = (women + 1, men) if draw.random() < chance else (women, men + 1)
        looks.append((women, men))
    return looks


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_statuses_after_every_single_request_leave_open_how_many_requests_a_small_stratum_got(seed):
    """To one who counts all requests, and sees the status after each of them."""
    reader, candidates = Statuses(), {0: Statuses()}
    for women, men in queue(seed):
        seen = reader.see(both(women, men))
        following: dict[int, Statuses] = {}
        for known, statuses in candidates.items():
            for now in (known, known + 1):
                other = Statuses(statuses.status)
                if now <= women + men and other.see(both(now, women + men - now)) == seen:
                    following.setdefault(now, other)
        candidates = following
        assert women in candidates
        if reader.status.subgroups[0].pairs == "few" and women + men >= FEWEST:
            assert len(candidates) >= FEWEST, (women, men, sorted(candidates))


def test_a_published_value_changes_only_with_its_cell():
    reader = Statuses()
    told = [reader.see(both(n // 12, n - n // 12), forced=n % 7 == 0) for n in range(1, 170)]
    changes = [n for n in range(1, 169) if told[n] != told[n - 1]]
    cells = {n for n in range(1, 169) if publication.requests(n + 1) != publication.requests(n)}
    verdicts = {n for n in changes if json.loads(told[n])["verdict"] != json.loads(told[n - 1])["verdict"]}
    assert set(changes) <= cells | verdicts
    assert len(changes) < 50


# The fourth: PSI, Jensen-Shannon divergence and evidence together.


def of_one_feature(reference: tuple[int, ...], cells: tuple[int, ...]) -> object:
    """What a monitor publishes of its first window."""
    feature = FeatureReference(name="sex", kind="categorical", levels=("f", "m"), counts=reference)
    score = feature.model_copy(update={"name": "score"})
    profile = ReferenceProfile(rows=sum(reference), features=(feature,), score=score)
    counted = ProfileCounts(rows=sum(cells), features={"sex": cells, "score": cells})
    empty = ProfileCounts(rows=0, features={"sex": (0,) * len(cells), "score": (0,) * len(cells)})
    status = {"champion": "v1", "state": "InsufficientData", "windowSince": "2026-01-01T11:00:00Z", "rows": 0}
    watching = monitor(status=status, features=["sex"])
    told = judge(watching, Watched("v1", profile, counted, digest("1")), empty, NOW).status
    return json.dumps(told.to_json())


def of_one_feature_sharply(reference: tuple[int, ...], cells: tuple[int, ...]) -> object:
    detector, _ = look(Detector(), reference, cells, log(40), 0.1, 8)
    found = read(reference, detector.stretches)
    return tuple(f"{value:.2g}" for value in (found.log_evidence, found.effect, found.jensen_shannon))


@pytest.mark.parametrize("reference", [(900, 100, 0, 0), (800, 200, 0, 0), (500, 500, 0, 0), (950, 50, 0, 0)], ids=str)
@pytest.mark.parametrize("rows", [30, 100, 101, 105, 109, 300])
def test_psi_divergence_and_evidence_together_leave_open_how_many_rows_a_small_cell_has(reference, rows):
    """To one who knows how many rows there were. The verdict is exact, so what it leaves is the most that can be left."""
    told = {cell: of_one_feature(reference, (rows - cell, cell, 0, 0)) for cell in range(25)}
    state = {cell: json.loads(document)["state"] for cell, document in told.items()}
    for cell in range(1, MIN_SHOWN_COUNT):
        alike = [other for other in told if told[other] == told[cell]]
        left = [other for other in range(MIN_SHOWN_COUNT) if state[other] == state[cell]]
        assert len(alike) >= min(FEWEST, len(left)), (cell, told[cell], alike)
    exact = {cell: of_one_feature_sharply(reference, (rows - cell, cell, 0, 0)) for cell in range(25)}
    alone = [c for c in range(1, MIN_SHOWN_COUNT) if [o for o in exact if exact[o] == exact[c]] == [c]]
    assert len(alone) >= FEWEST, "the attacker succeeds on exact figures"


def by_margin(publish_margin: Callable[[float], bool]) -> int:
    """The attacker who may edit a monitor tries one minimum effect after the other."""
    return sum(publish_margin(0.01 * 1.1**i) for i in range(72))


def drifts_at(reference: tuple[int, ...], cells: tuple[int, ...], minimum: float, *, sharp: bool) -> bool:
    view = {} if sharp else {"view": partial(publication.nearest, reference)}
    return look(Detector(), reference, cells, log(2 / 0.001), minimum, 8, **view)[0].drifting


@pytest.mark.parametrize("reference", [(500, 500, 0, 0), (600, 400, 0, 0), (650, 350, 0, 0)], ids=str)
def test_the_minimum_effect_at_which_a_call_turns_leaves_open_how_many_rows_a_small_cell_has(reference):
    def turns(cell: int, *, sharp: bool) -> int:
        return by_margin(lambda margin: drifts_at(reference, (100 - cell, cell, 0, 0), margin, sharp=sharp))

    found = {cell: turns(cell, sharp=False) for cell in range(25)}
    assert any(found.values())
    by_default = {cell: drifts_at(reference, (100 - cell, cell, 0, 0), 0.1, sharp=False) for cell in found}
    for cell in range(1, MIN_SHOWN_COUNT):
        unavoidable = sum(other == by_default[cell] for other in by_default.values())
        assert sum(other == found[cell] for other in found.values()) >= min(FEWEST, unavoidable), cell
    exact = {cell: turns(cell, sharp=True) for cell in range(25)}
    alone = [c for c in range(1, MIN_SHOWN_COUNT) if sum(other == exact[c] for other in exact.values()) < FEWEST]
    assert alone, "the attacker succeeds on exact figures"


# The fifth: the pods' metrics, which count all requests and all failures exactly.


def verdict_alone(strata: Strata) -> object:
    """The inequality that is told in any case."""
    found = assess(whole(strata), None, strata, ANALYSIS)
    return found.verdict, found.reason, {s.stratum for s in found.subgroups if s.state == "Harm"}


def narrowed(candidates: dict[int, Strata]) -> list[tuple[int, list[int]]]:
    """Of small counts, those of which fewer remain possible than a verdict leaves, and fewer than five."""
    told = {count: published(strata) for count, strata in candidates.items()}
    verdicts = {count: verdict_alone(strata) for count, strata in candidates.items()}
    found = []
    for count in candidates:
        left = [other for other in candidates if told[other] == told[count]]
        unavoidable = [other for other in candidates if verdicts[other] == verdicts[count]]
        if count < MIN_SHOWN_COUNT and len(left) < min(FEWEST, len(unavoidable)):
            found.append((count, left))
    return found


@pytest.mark.parametrize("requests", [*range(12, 140, 3), 501, 549, 550, 2049, 2051], ids=str)
def test_the_exact_number_of_all_requests_leaves_open_how_many_a_small_stratum_got(requests):
    assert narrowed({women: both(women, requests - women) for women in range(min(requests, 30))}) == []


@pytest.mark.parametrize("requests", [35, 61, 129, 401, 999])
def test_so_it_does_beside_two_other_strata_of_the_column(requests):
    for middle in (0, 3, 15, 25, (requests - 30) // 2):
        candidates = {
            young: {"age<40": clean(young), "40<=age<65": clean(middle), "age>=65": clean(requests - young - middle)}
            for young in range(min(30, requests - middle))
        }
        assert narrowed(candidates) == [], middle


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(("women", "men"), [(60, 200), (200, 200), (300, 5000), (2000, 2000)])
@pytest.mark.parametrize("failed", [1, 11, 19, 20, 21, 29, 30, 39, 41])
def test_the_exact_number_of_all_failures_leaves_open_how_many_a_stratum_has(women, men, signal, failed):
    assert narrowed({own: both(women, men, **{signal: (own, failed - own)}) for own in range(failed + 1)}) == []


@pytest.mark.parametrize("signal", ["errors_champion"])
@pytest.mark.parametrize("failed", [11, 20, 29, 40])
def test_so_do_failures_of_the_champion(signal, failed):
    candidates = {
        own: both(400, 3600, errors_challenger=(40, 60), **{signal: (own, failed - own)}) for own in range(failed + 1)
    }
    assert narrowed(candidates) == []


def test_the_step_to_a_known_number_of_requests_does_not_tell_the_last_small_one():
    """To one who knows of each release how many requests were made, the shorter the time between two the better."""
    words = [assess(clean(119 + i), None, both(n, 119 + i - n), ANALYSIS).subgroups[0].pairs
             for n in range(8, 30) for i in (0, 1)]  # fmt: skip
    first = next(n for n, word in zip(range(8, 30), words[::2], strict=True) if word.startswith("about"))
    assert first > MIN_SHOWN_COUNT + FEWEST


# What is told is not false.


counts = st.integers(0, 4000).flatmap(
    lambda n: st.builds(
        clean,
        st.just(n),
        errors_challenger=st.integers(0, min(n, 60)),
        errors_champion=st.integers(0, max(0, min(n - 60, 60))),
        flips=st.integers(0, min(n, 60)),
    )
)


@given(counts)
def test_a_bound_is_never_told_below_the_exact_one_and_every_verdict_is_true(exact):
    found = assess(exact, None, {}, ANALYSIS)
    told = {signal.name: signal for signal in found.signals}
    bound = statistics.harm_bound(exact.errors_challenger, exact.errors_champion, exact.pairs, ANALYSIS.alpha)
    errors = told["errors"]
    if bound > 0 and found.verdict != "Pass" and errors.verdict != "Harm":
        assert errors.bound >= bound - 1e-3
    if errors.verdict == "Pass":
        assert bound < ANALYSIS.error_margin
    evidence = statistics.log_evidence_of_harm(exact.errors_challenger, exact.errors_champion)
    assert (errors.verdict == "Harm") == (evidence >= errors.evidence_needed - 1e-4)
    assert (errors.log_evidence >= errors.evidence_needed) == (errors.verdict == "Harm")
    if found.verdict == "Hold":
        assert "Hold" in {signal.verdict for signal in found.signals}


@given(st.integers(0, 10**8))
def test_cells_are_aligned_and_hold_their_counts(count):
    for cell in (publication.requests_cell(count), publication.failures(count), publication.rows_of_bin(count)):
        assert cell.least <= count <= cell.most
        assert cell.least <= cell.middle <= cell.most
    assert publication.requests(count) <= max(10, count)
    assert publication.requests(publication.requests(count)) == publication.requests(count)
    if count:
        assert publication.rows_of_bin(count).most - publication.rows_of_bin(count).least >= 8
