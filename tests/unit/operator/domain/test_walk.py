"""Invariants of every step of the random walks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelward_operator.domain.rollout.plan import UNDER_WAY
from tests.support.cases import cases
from tests.support.pages import written_into
from tests.unit.operator.domain import walk

PAGE = Path(__file__).parents[4] / "docs" / "rollouts.md"


@pytest.fixture(scope="module", params=cases({"some": 30, "all": walk.WALKS}, always=["some"]))
def lives(request):
    return list(walk.walks(request.param))


@pytest.mark.slow
def test_the_documented_diagram_is_what_the_code_does():
    page = PAGE.read_text()
    assert written_into(page, "diagram", walk.diagram(walk.walks())) == page, "make generate"


def test_no_change_of_phase_is_missing_in_the_documented_diagram(lives):
    drawn = re.findall(r"^ {4}(\S+) --> (\S+): (.+)$", PAGE.read_text(), re.MULTILINE)
    documented = {(before, after): set(reasons.split(", ")) for before, after, reasons in drawn}
    seen = walk.changes(lives)
    assert len(seen) > 20
    for change, reasons in seen.items():
        assert reasons <= documented.get(change, set()), f"{change}: make generate"


def test_whoever_answers_goes_on_until_somebody_else_is_selected(lives):
    for seen, decision in lives:
        selected = seen.service.selects if seen.service else None
        if selected is not None and not decision.drop_service:
            assert selected in decision.workloads, (selected, decision)


def test_there_is_one_champion_once_there_was_one(lives):
    for seen, decision in lives:
        phases = [status.phase for status in decision.statuses.values()]
        there_was = any(one.status.phase == "Champion" and not one.deleting for one in seen.versions)
        assert phases.count("Champion") <= 1
        assert phases.count("Champion") == 1 or not there_was


def test_one_challenger_at_most_is_asked_and_the_weights_sum_to_100(lives):
    for _, decision in lives:
        challengers = [lease for lease in decision.leases if lease.challenger and not lease.drain]
        assert len(challengers) <= 1
        weights = [status.weight.requested for status in decision.statuses.values() if status.weight]
        champion = any(status.phase == "Champion" for status in decision.statuses.values())
        assert sum(weights) == (100 if champion else 0)


def test_one_rollout_at_most_is_under_way(lives):
    for _, decision in lives:
        assert sum(status.phase in UNDER_WAY for status in decision.statuses.values()) <= 1


def test_nobody_whose_digest_is_quarantined_is_asked_or_begins(lives):
    for seen, decision in lives:
        kept = {entry.digest for entry in decision.record.quarantined}
        quarantined = {entry.digest for entry in seen.record.quarantined} & kept
        barred = {one.name for one in seen.versions if one.artifact and one.artifact.digest in quarantined}
        assert not barred & {lease.challenger for lease in decision.leases if not lease.drain}
        assert not barred & {name for name, status in decision.statuses.items() if status.phase in UNDER_WAY}


def test_no_version_goes_while_callers_come_to_it(lives):
    for seen, decision in lives:
        selected = seen.service.selects if seen.service else None
        assert decision.drop_service or selected not in decision.drop_finalizers


def test_each_promotion_and_rollback_is_recorded_once(lives):
    for seen, decision in lives:
        new = decision.record.decisions[len(seen.record.decisions) :]
        assert len({(entry.model_version, entry.outcome) for entry in new}) == len(new)
        for name, status in decision.statuses.items():
            before = next(one.status.phase for one in seen.versions if one.name == name)
            if status.phase == "RolledBack" and before not in (None, "RolledBack"):
                deleted = status.history[-1].reason == "Deleted"
                assert deleted or any(
                    (e.model_version, e.outcome) == (name, "rollback") for e in decision.record.decisions
                )
