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
    """What somebody does, and what must come of it."""

    past: tuple[str, ...]
    """Versions that have taken over, one after another."""
    happens: Callable[[World], None]
    ends: Phases
    sequel: Callable[[World], None]
    """What somebody does next."""
    ends_then: Phases


def promotion(place: World) -> None:
    place.create("v2", rollout=QUICK)


def rollback(place: World) -> None:
    place.callers.quality[digest("2")] = "failing"
    place.create("v2", rollout=QUICK)


def superseding(place: World) -> None:
    place.callers.rate = 0
    place.create("v2", rollout=QUICK)
    place.until(lambda: place.phase("v2") == "Canary", "v2 is compared")
    place.callers.rate = 200
    place.create("v3", rollout=QUICK)


def withdraw(name: str) -> Callable[[World], None]:
    return lambda place: place.edit(name, rollout={"withdrawn": True})


def replace_by(name: str) -> Callable[[World], None]:
    return lambda place: place.create(name, rollout={"strategy": "direct", "keepWarm": "0s"})


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


def begin(place: World, story: Story) -> None:
    place.callers.rate = 200
    for name in story.past:
        place.create(name, rollout={"strategy": "direct"})
        place.until(lambda name=name: place.phase(name) == "Champion", f"{name} answers")
    place.wait(5.0)


def end(place: World, story: Story) -> None:
    place.until(lambda: place.phases() == story.ends, "the end of the story")
    place.wait(3.0)
    writes = place.faults.writes
    place.wait(8.0)
    assert place.faults.writes == writes, "a second reconcile writes nothing"
    assert place.phases() == story.ends
    assert place.invariants.violations == []
    assert place.callers.unanswered == 0


def numbers(writes: int, stride: int) -> range:
    """Which writes to try: all of them in a long run."""
    return range(1, writes + 1, 1 if LONG else stride)


@pytest.fixture(scope="module", params=STORIES.values(), ids=STORIES.keys())
def told(request: pytest.FixtureRequest) -> tuple[Story, int, dict[str, str]]:
    """A story without any fault: how many writes it takes, and what there is at its end."""
    story: Story = request.param
    with world() as place:
        begin(place, story)
        before = place.faults.writes
        story.happens(place)
        end(place, story)
        return story, place.faults.writes - before, quiescence.made(place)


@pytest.mark.parametrize("mishap", MISHAPS)
def test_it_ends_the_same_whatever_befalls_any_of_its_writes(told, mishap: Mishap):
    story, writes, made = told
    assert writes > 5
    for number in numbers(writes, 1 if mishap.startswith("crash") else 4):
        with world() as place:
            begin(place, story)
            place.faults.planned.append(Fault(mishap, number))
            story.happens(place)
            end(place, story)
            assert quiescence.made(place) == made, f"write {number}"


def test_an_operator_that_was_suspended_at_any_of_its_writes_undoes_nothing_when_it_goes_on(told):
    story, writes, _ = told
    for number in numbers(writes, 3):
        with world() as place:
            begin(place, story)
            place.faults.planned.append(Fault("suspended", number))
            story.happens(place)
            place.until(lambda: place.phases() == story.ends, "the end of the story")
            story.sequel(place)
            place.until(lambda: place.phases() == story.ends_then, "the end of the sequel")
            place.wait(20.0)
            before = quiescence.everything(place)
            place.resume()
            place.wait(40.0)
            assert place.invariants.violations == [], f"write {number}"
            assert place.callers.unanswered == 0, f"write {number}"
            assert quiescence.everything(place) == before, f"write {number}"
