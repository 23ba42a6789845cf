"""Anything, in any order: Hypothesis is the people, the network, the machines and the clock.

`make faults` looks for longer. A failure prints the shortest story that it has found, as a program.
"""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modelward_operator.engine.kube.gateway import InvalidObjectError
from tests.faults import LONG, quiescence
from tests.faults.choices import KINDS, ROLLOUTS, SERVINGS, UNREADABLE
from tests.faults.gateway import MISHAPS, Fault
from tests.faults.pods import LOSSES
from tests.faults.world import QUICK, World
from tests.support.builders import digest

NAMES = ("v1", "v2", "v3", "v4")

names = st.sampled_from(NAMES)
some = st.integers(0, 10)


class Faults(RuleBasedStateMachine):
    """A world in which anything may happen."""

    @initialize(rate=st.sampled_from((0, 200)), past=st.sampled_from(((), ("v1",), ("v1", "v2"))))
    def begin(self, rate, past):
        self.world = World()
        self.world.start()
        self.world.callers.rate = rate
        for name in past:
            self.world.create(name, rollout={"strategy": "direct"})
            self.world.until(lambda name=name: self.world.phase(name) == "Champion", f"{name} answers")

    # People.

    @rule(name=names, letter=st.sampled_from((None, None, None, "1", "2")), rollout=st.sampled_from(ROLLOUTS))
    def create(self, name, letter, rollout):
        if self.world.version(name) is None:
            self.world.create(name, letter, rollout=rollout)

    @rule(name=names, rollout=st.sampled_from(ROLLOUTS))
    def change_the_rollout(self, name, rollout):
        self._edit(name, rollout=rollout)

    @rule(name=names, serving=st.sampled_from(SERVINGS))
    def change_the_serving(self, name, serving):
        self._edit(name, serving=serving)

    @rule(name=names)
    def write_what_cannot_be_read(self, name):
        self._edit(name, validated=False, rollout=UNREADABLE)

    @rule(name=names)
    def release(self, name):
        rolled_back = self.world.status(name).get("rolledBackAt")
        if rolled_back is not None:
            self._edit(name, rollout={**QUICK, "release": rolled_back})

    @rule(name=names)
    def delete(self, name):
        self.world.delete(name)

    @rule(name=names)
    def delete_its_deployment(self, name):
        self.world.delete_deployment(name)

    # Callers and models.

    @rule(letter=st.sampled_from("1234"), quality=st.sampled_from(("good", "failing", "invalid")))
    def a_model_is(self, letter, quality):
        self.world.callers.quality[digest(letter)] = quality

    @rule(letter=st.sampled_from("234"))
    def a_bundle_is_corrupt(self, letter):
        self.world.cluster.corrupt.add(digest(letter))

    @rule(rate=st.sampled_from((0, 20, 400)))
    def callers_ask(self, rate):
        self.world.callers.rate = rate

    # Machines, the network and the clock.

    @rule(seconds=st.sampled_from((0.05, 0.3, 1.0, 3.0, 12.0)))
    def time_passes(self, seconds):
        self.world.wait(seconds)

    @rule(seconds=st.sampled_from((-7200, -30, 30, 7200)))
    def the_clock_is_set(self, seconds):
        self.world.jump(seconds)

    @rule(number=some)
    def a_pod_is_lost(self, number):
        self._with_pod(number, self.world.kill_pod)

    @rule(number=some)
    def a_pod_crashes(self, number):
        self._with_pod(number, self.world.crash_pod)

    @rule(number=some)
    def a_pod_cannot_be_reached(self, number):
        self._with_pod(number, lambda name: self.world.network.cut.add(self.world.cluster.pods[name].ip))

    @rule(losses=st.lists(st.sampled_from(LOSSES), min_size=1, max_size=4))
    def talk_with_pods_goes_wrong(self, losses):
        self.world.network.losses += losses

    @rule(mishap=st.sampled_from(MISHAPS), nth=st.integers(1, 12), on=st.sampled_from(("write", "write", "read")))
    def a_call_goes_wrong(self, mishap, nth, on):
        self.world.faults.planned.append(Fault(mishap, nth, on))

    @rule(mishap=st.sampled_from(MISHAPS), nth=st.integers(1, 6), on=st.sampled_from(("write", "read")))
    def a_call_about_the_lease_goes_wrong(self, mishap, nth, on):
        self.world.leases.planned.append(Fault(mishap, nth, on))

    @rule(nth=st.integers(1, 6))
    def the_leader_is_suspended_at_a_write(self, nth):
        self.world.faults.planned.append(Fault("suspended", nth))

    @rule(resource=st.sampled_from(KINDS))
    def writes_are_forbidden(self, resource):
        self.world.faults.forbidden |= {resource}

    @rule(resource=st.sampled_from(KINDS), lag=st.integers(1, 8))
    def reads_are_stale(self, resource, lag):
        self.world.faults.lag[resource] = lag

    @rule(drop=st.integers(0, 5), twice=st.integers(0, 5), shuffled=st.integers(0, 5))
    def events_go_wrong(self, drop, twice, shuffled):
        self.world.watches.drop, self.world.watches.twice, self.world.watches.shuffled = drop, twice, shuffled

    @rule()
    def watches_fall_silent(self):
        self.world.deafen()

    @precondition(lambda self: self.world.watches.silent)
    @rule()
    def watches_begin_anew(self):
        self.world.relist()

    @rule(number=some)
    def an_operator_is_killed(self, number):
        self._with_operator(number).die()

    @rule()
    def all_operators_are_killed(self):
        for process in self.world.processes:
            process.die()

    @rule(number=some)
    def an_operator_is_ended(self, number):
        self._with_operator(number).stop()

    @rule()
    def the_leader_is_suspended(self):
        self.world.suspend()

    @rule()
    def the_suspended_go_on(self):
        self.world.resume()

    @rule()
    def all_is_mended(self):
        self.world.heal()

    @invariant()
    def nothing_is_wrong(self):
        if hasattr(self, "world"):
            assert self.world.invariants.violations == []
            assert sum(process.leads for process in self.world.processes) <= 1

    def teardown(self):
        if not hasattr(self, "world"):
            return
        try:
            if not self.world.invariants.violations:
                quiescence.settle(self.world)
                quiescence.check(self.world)
        finally:
            self.world.close()

    def _edit(self, name, *, validated=True, **spec):
        if self.world.version(name) is not None:
            with suppress(InvalidObjectError):  # a person is told, and nothing changes
                self.world.edit(name, validated=validated, **spec)

    def _with_operator(self, number):
        return self.world.processes[number % len(self.world.processes)]

    def _with_pod(self, number, what):
        running = sorted(self.world.cluster.pods)
        if running:
            what(running[number % len(running)])


TestFaults = Faults.TestCase
TestFaults.pytestmark = [pytest.mark.timeout(0 if LONG else 900), pytest.mark.slow]
TestFaults.settings = settings(
    max_examples=1500 if LONG else 60,
    stateful_step_count=40,
    derandomize=not LONG,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
