"""Assessment of counts: verdicts, figures and the message."""

from __future__ import annotations

from math import isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_api.resources.modelversion import Analysis
from modelward_api.wire.exchange import LATENCY_LEVELS, SCORE_LEVELS, PairedCounts
from modelward_operator.domain.evidence.signals import assess
from tests.support.builders import clean

STRICT = Analysis(score_shift=0.2)


def signal(name: str, counts: PairedCounts, analysis: Analysis = STRICT):
    return next(s for s in assess(counts, None, analysis).signals if s.name == name)


def test_alpha_is_shared_by_the_signals_that_are_not_allowed_everything():
    lax = Analysis(flip_allowance=1, latency_shift=1, score_shift=1)
    assert signal("errors", clean(9), lax).evidence_needed == pytest.approx(log(2 / 0.05), abs=1e-3)
    assert signal("errors", clean(9), Analysis()).evidence_needed == pytest.approx(log(4 / 0.05), abs=1e-3)
    assert signal("errors", clean(9)).evidence_needed == pytest.approx(log(5 / 0.05), abs=1e-3)


def test_answers_that_are_slower_though_in_time_are_harm_when_their_share_grew_by_more_than_allowed():
    counts = clean(60, slower_challenger=(55, 50, 3), slower_champion=(0, 0, 0))
    told = assess(counts, None, Analysis())
    assert told.verdict == "Harm"
    assert told.message.startswith("Harm: 90% more slow answers, 50% allowed (log-evidence ")


def test_answers_that_come_earlier_are_no_harm():
    faster = signal("latency-shift", clean(300, slower_champion=(300, 300, 300)))
    assert (faster.verdict, faster.estimate) == ("Pass", -1.0)


def test_scores_may_move_neither_up_nor_down_by_more_than_allowed():
    moved = (0, 0, 30, 0, 0, 0, 0, 0, 0)
    assert signal("score-shift", clean(50, higher_challenger=moved)).verdict == "Harm"
    assert signal("score-shift", clean(50, higher_champion=moved)).verdict == "Harm"
    assert signal("score-shift", clean(50, higher_challenger=moved, higher_champion=moved)).verdict == "Hold"


def test_what_is_allowed_everything_is_reported_and_never_holds_a_promotion():
    told = signal("score-shift", clean(40, higher_challenger=(40,) * 9), Analysis())
    assert (told.verdict, told.estimate, told.log_evidence, told.samples_needed) == ("Pass", 1.0, 0.0, 0)


def test_a_shift_is_judged_at_the_level_where_it_is_largest():
    told = signal("latency-shift", clean(100, slower_challenger=(5, 30, 10), slower_champion=(1, 2, 0)))
    assert told.estimate == pytest.approx(0.31), "30 to 39, less 1 to 5, of about 100"
    assert 0.31 < told.bound < 0.6


def test_without_a_shift_the_guards_wait_for_twenty_pairs_not_for_hundreds():
    assert signal("latency-shift", clean(0)).verdict == "Hold"
    assert signal("latency-shift", clean(20)).verdict == "Pass"


def test_a_hold_names_the_guard_that_is_furthest_from_a_pass():
    counts = clean(400, slower_challenger=(185, 0, 0), slower_champion=(0, 0, 0))
    message = assess(counts, None, Analysis(error_margin=0.5, flip_allowance=0.5)).message
    assert message.startswith("Holding: 400 of at least ")
    assert "; more slow answers at most 5" in message
    assert message.endswith("allowed 50%")


@st.composite
def counts(draw) -> PairedCounts:
    """Any counts that pods can report, up to ten million pairs; none, all or some of them discordant."""
    pairs = draw(st.sampled_from([0, 1, 19, 20, 600, 10**7]) | st.integers(0, 10**7))
    compared = draw(st.sampled_from([0, pairs]) | st.integers(0, pairs))

    def split(most: int) -> tuple[int, int]:
        b = draw(st.sampled_from([0, most]) | st.integers(0, most))
        return b, draw(st.sampled_from([0, most - b]) | st.integers(0, most - b))

    (errors, late) = split(pairs), split(pairs)
    slower, higher = [split(compared) for _ in LATENCY_LEVELS], [split(compared) for _ in SCORE_LEVELS]
    return PairedCounts(
        pairs=pairs, compared=compared, flips=draw(st.sampled_from([0, compared]) | st.integers(0, compared)),
        errors_challenger=errors[0], errors_champion=errors[1], late_challenger=late[0], late_champion=late[1],
        slower_challenger=tuple(b for b, _ in slower), slower_champion=tuple(c for _, c in slower),
        higher_challenger=tuple(b for b, _ in higher), higher_champion=tuple(c for _, c in higher),
    )  # fmt: skip


share = st.floats(1e-6, 1.0) | st.sampled_from([1e-6, 0.02, 1.0])


@given(counts(), st.builds(Analysis, error_margin=st.floats(1e-6, 0.5), alpha=st.floats(1e-9, 0.49),
                           flip_allowance=share, latency_shift=share, score_shift=share))  # fmt: skip
def test_whatever_was_counted_every_number_is_finite_and_consistent(counts, analysis):
    told = assess(counts, None, analysis)
    for found in told.signals:
        for number in (found.estimate, found.bound, found.log_evidence, found.evidence_needed):
            assert number is None or isfinite(number)
        if found.bound is not None:
            assert -1 <= found.bound <= 1
            assert found.estimate is None or found.estimate <= found.bound + 1e-3
        assert not (found.name == "flips" and found.bound < 0)
    assert told.message
