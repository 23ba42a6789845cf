"""Random walks through a model's life: what people and clusters do, and what the operator makes of it.

The state diagram in docs/rollouts.md shows what the walks have seen; ``python -m tests.unit.operator.domain.walk`` writes it.
"""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from modelward_api.resources.modelversion import ModelVersionStatus
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.record import ModelRecord
from modelward_operator.domain.evidence.ledger import instance_key
from modelward_operator.domain.rollout import advance
from modelward_operator.domain.rollout.decision import Decision
from modelward_operator.domain.rollout.observation import ModelService, Observation, Pod, Version, Workload
from tests.support.builders import MODEL, NOW, clean, counted, documents, monitor, version, with_profile
from tests.support.pages import written_into

WALKS, STEPS = 150, 60
PERSON = ("apply", "apply", "apply", "reapply", "withdraw", "release", "release", "pause", "resume", "delete")
CLUSTER = ("start",) * 6 + ("pass",) * 4 + ("harm",) * 2 + ("kill", "break", "wait", "drift")
APT = {
    "harm": ("Canary", "Promoting"),
    "pass": ("Canary",),
    "withdraw": ("Champion", "Standby", "Promoting", "Canary", "Pending"),
}
KINDS: tuple[dict[str, Any], ...] = ({}, {}, {"strategy": "direct"}, {"strategy": "shadow"}, {"supersedes": False})

Edge = tuple[str, str, str]
NOBODY: Mapping[str, PairedCounts] = {}


@dataclass
class World:
    """A cluster with one model, as far as decisions see it."""

    chance: random.Random
    now: datetime = NOW
    versions: dict[str, Version] = field(default_factory=dict)
    serves: str | None = None
    record: ModelRecord = field(default_factory=ModelRecord)
    drifting: bool = False
    made: int = 0

    def observation(self) -> Observation:
        """Return the operator's observation."""
        service = ModelService(self.serves, ours=True) if self.serves else None
        seen = Observation("clinic", MODEL, tuple(self.versions.values()), service, self.record)
        if self.drifting and self.serves:
            served = self.versions[self.serves].artifact if self.serves in self.versions else None
            reference = {served.digest: documents(self.serves)} if served else {}
            status = {"champion": self.serves, "windowSince": "2026-01-01T00:00:00Z"}
            watch = monitor(status=status, actions=[{"on": "drift", "do": "rollback"}])
            before = counted((10, 10, 10, 10, 10))
            seen = with_profile(seen, self.serves, counted((10, 10, 10, 10, 500)), {"watch": before})
            seen = replace(seen, monitors=(watch,), documents=reference)
        return seen

    def happen(self) -> None:
        """Somebody does something."""
        people = PERSON if self.made < 9 else PERSON[4:]
        what = self.chance.choice(people if self.chance.random() < 0.2 else CLUSTER)
        self.now += timedelta(seconds=self.chance.choice((1, 30)))
        if what == "apply":
            self.made += 1
            self.versions[f"v{self.made}"] = self._applied(f"v{self.made}")
        elif what == "wait":
            self.now += timedelta(hours=self.chance.choice((0.3, 0.3, 2, 200)))
        elif what == "drift":
            self.drifting = True
        elif self.versions:
            apt = [one for one in self.versions.values() if one.status.phase in APT.get(what, ())]
            getattr(self, f"_{what}")(self.chance.choice(apt or list(self.versions.values())))

    def obey(self, decision: Decision) -> None:
        """Apply the decision to the cluster."""
        self.record, self.drifting = decision.record, False
        for name, status in decision.statuses.items():
            self.versions[name] = replace(self.versions[name], status=status)
        for name, one in list(self.versions.items()):
            if name in decision.drop_finalizers:
                del self.versions[name]
            elif name not in decision.workloads:
                self.versions[name] = replace(one, pods=(), workload=None)
            else:
                size = decision.workloads[name]
                new = tuple(Pod(f"{name}-{n}") for n in range(len(one.pods), size))
                self.versions[name] = replace(one, pods=(*one.pods, *new)[:size], workload=Workload(size))
        self.serves = None if decision.drop_service else decision.serve or self.serves

    def _applied(self, name: str) -> Version:
        rollout = {"steps": [{"weight": 50, "minRequests": 10}], **self.chance.choice(KINDS)}
        made = version(name, rollout=rollout, serving={"replicas": self.chance.choice((1, 2))})
        if self.chance.random() < 0.1:
            return replace(made, artifact=None)
        if self.chance.random() < 0.05:
            return replace(made, artifact_failure=Failure("TrainingJobFailed", "OneClass"))
        return made

    def _reapply(self, one: Version) -> None:
        self.made += 1
        again = version(f"v{self.made}")
        self.versions[again.name] = replace(again, artifact=one.artifact)

    def _start(self, one: Version) -> None:
        for name, each in self.versions.items():
            whole = each.artifact or (version(name).artifact if each is one else None)
            pods = tuple(replace(p, ip="10.0.0.1", ready=p.verified, verified=True) for p in each.pods)
            self.versions[name] = replace(each, artifact=whole, pods=pods)

    def _kill(self, one: Version) -> None:
        self.versions[one.name] = replace(one, pods=tuple(Pod(p.name, verified=True) for p in one.pods))

    def _break(self, one: Version) -> None:
        failure = Failure("DigestMismatch", "sha256:a is not sha256:b")
        if not one.ready_pods and one.status.phase == "Verifying":
            self.versions[one.name] = replace(one, pods=(Pod(f"{one.name}-0", failure=failure),))

    def _harm(self, one: Version) -> None:
        women = {"sex=f": clean(400, errors_challenger=60)}
        average = clean(5000, errors_challenger=60, errors_champion=60)
        harms = ((clean(5000, invalid=1), {}), (clean(5000, errors_challenger=400), {}), (average, women))
        self._count(one, *self.chance.choice(harms))

    def _pass(self, one: Version) -> None:
        self._count(one, clean(3000))

    def _count(self, one: Version, counts: PairedCounts, strata: Mapping[str, PairedCounts] = NOBODY) -> None:
        champion = self.versions.get(one.status.champion or "")
        if one.status.phase not in ("Canary", "Promoting") or champion is None or champion.artifact is None:
            return
        key, ledger = instance_key(champion.artifact.digest, "i"), self.record.ledger
        own = (one.artifact or champion.artifact).digest
        read = {
            "paired": {**ledger.paired, own: {key: counts}},
            "strata": {**ledger.strata, own: {key: dict(strata)}},
        }
        self.record = self.record.model_copy(update={"ledger": ledger.model_copy(update=read)})

    def _withdraw(self, one: Version) -> None:
        self._ask(one, withdrawn=True)

    def _release(self, one: Version) -> None:
        self._ask(one, withdrawn=False, release=one.status.rolled_back_at)

    def _pause(self, one: Version) -> None:
        self._ask(one, paused=True)

    def _resume(self, one: Version) -> None:
        self._ask(one, paused=False)

    def _ask(self, one: Version, **fields: Any) -> None:
        rollout = one.spec.rollout.model_copy(update=fields)
        self.versions[one.name] = replace(one, spec=one.spec.model_copy(update={"rollout": rollout}))

    def _delete(self, one: Version) -> None:
        self.versions[one.name] = replace(one, deleting=True)


def walk(seed: int) -> Iterator[tuple[Observation, Decision]]:
    """One life: each observation, and the decision on it."""
    world = World(random.Random(seed))
    for _ in range(STEPS):
        world.happen()
        for _ in range(2):
            seen = world.observation()
            decision = advance(seen, world.now)
            yield seen, decision
            world.obey(decision)


def edges(seen: Observation, decision: Decision) -> Iterator[Edge]:
    """The changes of phase, with their reasons."""
    before = {one.name: one.status.phase or "[*]" for one in seen.versions}
    for name, status in decision.statuses.items():
        if status.phase and status.phase != before[name]:
            yield before[name], status.phase, _reason(status)


def walks(number: int = WALKS) -> Iterator[tuple[Observation, Decision]]:
    """Many lives, one after the other."""
    for seed in range(number):
        yield from walk(seed)


def changes(lives: Iterable[tuple[Observation, Decision]]) -> dict[tuple[str, str], set[str]]:
    """The reasons of all changes of phase that were seen, by the phases before and after."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for seen, decision in lives:
        for before, after, reason in edges(seen, decision):
            found[before, after].add(reason)
    return found


def diagram(lives: Iterable[tuple[Observation, Decision]]) -> str:
    """All changes of phase that were seen, as Mermaid draws them."""
    found = changes(lives)
    lines = [f"    {a} --> {b}: {', '.join(sorted(reasons))}" for (a, b), reasons in sorted(found.items())]
    return "\n".join(("```mermaid", "stateDiagram-v2", *lines, "```"))


def _reason(status: ModelVersionStatus) -> str:
    return status.history[-1].reason


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(written_into(target.read_text(), "diagram", diagram(walks())))
