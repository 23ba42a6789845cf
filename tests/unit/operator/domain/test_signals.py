"""A signal is one entry of the registry: whatever else must know of it is derived from that, or fails here."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest

from modelward_api.resources.modelversion import Analysis, SignalEvidence, SubgroupEvidence
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.evidence import signals
from modelward_operator.domain.evidence.registry import OTHER_COUNTS, SIGNALS
from modelward_operator.domain.evidence.signals import WORDS, assess
from tests.support.builders import clean

NAMES = [signal.name for signal in SIGNALS]
ALL_ALLOWED = {signal.allowance: 1.0 for signal in SIGNALS if signal.allowance is not None}


def test_each_signal_is_judged_in_the_registrys_order():
    assert [signal.name for signal in assess(PairedCounts(), None, Analysis()).signals] == NAMES


@pytest.mark.parametrize(("evidence", "field"), [(SignalEvidence, "name"), (SubgroupEvidence, "signal")])
def test_the_api_knows_each_signal_that_it_is_told(evidence, field):
    description = evidence.model_fields[field].description
    annotation = evidence.model_fields[field].annotation
    told = [name for part in (annotation, *get_args(annotation)) for name in get_args(part) if isinstance(name, str)]
    assert set(told) == set(NAMES) if evidence is SignalEvidence else set(told) < set(NAMES)
    assert f"{', '.join(told[:-1])} or {told[-1]}" in description


def test_a_hold_whose_estimate_is_above_its_margin_speaks_of_the_present_rate_only_for_a_pass_may_follow():
    early = assess(clean(100, errors_challenger=6), None, Analysis())
    assert early.verdict == "Hold"
    assert early.message.endswith("margin 2%: no pass at the present rate, no proof of harm either")
    later = assess(clean(6000, errors_challenger=6), None, Analysis())
    assert later.verdict == "Pass"


def test_each_signal_has_its_words():
    assert list(WORDS) == NAMES
    assert all(WORDS.values())


def test_each_count_on_the_wire_is_one_signals_or_named_as_nobodys():
    claimed = Counter(field for signal in SIGNALS for field in signal.counts)
    assert set(claimed.values()) == {1}
    assert claimed.keys() | OTHER_COUNTS == PairedCounts.model_fields.keys()
    assert not claimed.keys() & OTHER_COUNTS


def test_each_allowance_is_a_field_of_the_analysis():
    assert ALL_ALLOWED.keys() <= Analysis.model_fields.keys()


def test_each_signal_that_can_call_harm_by_evidence_takes_its_share_of_alpha():
    strict = Analysis().model_copy(update=dict.fromkeys(ALL_ALLOWED, 0.1))
    assert signals.tested(strict) == len(SIGNALS) - sum(signal.is_certain for signal in SIGNALS)
    assert signals.tested(strict.model_copy(update=ALL_ALLOWED)) == signals.tested(strict) - len(ALL_ALLOWED)
    evidence = assess(PairedCounts(), None, strict).signals
    assert [s.evidence_needed is None for s in evidence] == [signal.is_certain for signal in SIGNALS]
