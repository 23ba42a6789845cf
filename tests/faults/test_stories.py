"""Four stories, and at each of their writes everything that can befall it: each ends as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.faults import LONG, quiescence
from tests.faults.gateway import MISHAPS, Fault, Mishap
from tests.faults.world import QUICK, World, world
from tests.support.builders import digest

pytestmark = pytest.mark.timeout(900)

Phases = dict[str, str | None]


@dataclass(frozen=True)
class Story:
    """A person's action, and its expected outcome."""

    past: tuple[str, ...]
    """Versions that have taken over, one after another."""
    happens: Callable[[World], None]
    ends: Phases
    sequel: Callable[[World], None]
    """What somebody does next."""
    ends_then: Phases


def promotion(harness: World) -> None:
    harness.create("v2", rollout=QUICK)


def rollback(harness: World) -> None:
    harness.callers.quality[digest("2")] = "failing"
    harness.create("v2", rollout=QUICK)


def superseding(harness: World) -> None:
    harness.callers.rate = 0
    harness.create("v2", rollout=QUICK)
    harness.until(lambda: harness.phase("v2") == "Canary", "v2 is compared")
    harness.callers.rate = 200
    harness.create("v3", rollout=QUICK)


def withdraw(name: str) -> Callable[[World], None]:
    return lambda harness: harness.edit(name, rollout={"withdrawn": True})


def replace_by(name: str) -> Callable[[World], None]:
    return lambda harness: harness.create(name, rollout={"strategy": "direct", "keepWarm": "0s"})


STORIES = {
    "promotion": Story(
        ("v1",),
        promotion,
        {"v1": "Standby", "v2": "Champion"},
        withdraw("v2"),
        {"v1": "Champion", "v2": "RolledBack"},
    ),
    "rollback": Story(
        ("v1",),
        rollback,
        {"v1": "Champion", "v2": "RolledBack"},
        replace_by("v4"),
        {"v1": "Retired", "v2": "RolledBack", "v4": "Champion"},
    ),
    "superseding": Story(
        ("v1",),
        superseding,
        {"v1": "Standby", "v2": "Retired", "v3": "Champion"},
        withdraw("v3"),
        {"v1": "Champion", "v2": "Retired", "v3": "RolledBack"},
    ),
    "withdrawal": Story(
        ("v1", "v2"),
        withdraw("v2"),
        {"v1": "Champion", "v2": "RolledBack"},
        replace_by("v4"),
        {"v1": "Retired", "v2": "RolledBack", "v4": "Champion"},
    ),
}


def begin(harness: World, story: Story) -> None:
    harness.callers.rate = 200
    for name in story.past:
        harness.create(name, rollout={"strategy": "direct"})
        harness.until(lambda name=name: harness.phase(name) == "Champion", f"{name} answers")
    harness.wait(5.0)


def end(harness: World, story: Story) -> None:
    harness.until(lambda: harness.phases() == story.ends, "the end of the story")
    harness.wait(3.0)
    writes = harness.faults.writes
    harness.wait(8.0)
    assert harness.faults.writes == writes, "a second reconcile writes nothing"
    assert harness.phases() == story.ends
    assert harness.invariants.violations == []
    assert harness.callers.unanswered == 0


def numbers(writes: int, stride: int) -> range:
    """Which writes to try: all of them in a long run."""
    return range(1, writes + 1, 1 if LONG else stride)


@pytest.fixture(scope="module", params=STORIES.values(), ids=STORIES.keys())
def told(request: pytest.FixtureRequest) -> tuple[Story, int, dict[str, str]]:
    """A story without any fault: how many writes it takes, and what there is at its end."""
    story: Story = request.param
    with world() as harness:
        begin(harness, story)
        before = harness.faults.writes
        story.happens(harness)
        end(harness, story)
        return story, harness.faults.writes - before, quiescence.made(harness)


@pytest.mark.slow
@pytest.mark.parametrize("mishap", MISHAPS)
def test_it_ends_the_same_whatever_befalls_any_of_its_writes(told, mishap: Mishap):
    story, writes, made = told
    assert writes > 5
    for number in numbers(writes, 1 if mishap.startswith("crash") else 4):
        with world() as harness:
            begin(harness, story)
            harness.faults.planned.append(Fault(mishap, number))
            story.happens(harness)
            end(harness, story)
            assert quiescence.made(harness) == made, f"write {number}"


def test_an_operator_that_was_suspended_at_any_of_its_writes_undoes_nothing_when_it_goes_on(told):
    story, writes, _ = told
    for number in numbers(writes, 3):
        with world() as harness:
            begin(harness, story)
            harness.faults.planned.append(Fault("suspended", number))
            story.happens(harness)
            harness.until(lambda: harness.phases() == story.ends, "the end of the story")
            story.sequel(harness)
            harness.until(lambda: harness.phases() == story.ends_then, "the end of the sequel")
            harness.wait(20.0)
            before = quiescence.everything(harness)
            harness.resume()
            harness.wait(40.0)
            assert harness.invariants.violations == [], f"write {number}"
            assert harness.callers.unanswered == 0, f"write {number}"
            assert quiescence.everything(harness) == before, f"write {number}"
