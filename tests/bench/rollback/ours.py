"""Modelward: champion and challengers of a few models, each with its own clients."""

from __future__ import annotations

import io
import random
import tarfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from examples.clinic import STORE, Clinic
from modelward_api import API_VERSION, names
from tests.bench.rollback import faults
from tests.bench.rollback.result import Result
from tests.bench.rollback.traffic import PERIOD, Answer, Background, Client, Probe, Where, infer_url
from tests.bench.rollback.watching import Told, Watch

SYSTEM = "Modelward"
SETTINGS = "one step of 20%, every request mirrored"
ROLLOUT = {
    "steps": [{"weight": 20, "minRequests": 50}],
    "analysis": {"errorMargin": 0.02, "latencyObjective": "1s"},
}
WITHDRAW = '{"spec": {"rollout": {"withdrawn": true}}}'
FIRST_PAIRS = 25
"""Requests that a challenger answers well before it begins to fail: its opening is over."""
PODS = 90.0
"""Seconds within which pods must be ready."""
UNDECIDED = 90.0
"""Seconds after which a version that is still on trial counts as not rolled back."""
OFTEN = 0.02
"""Seconds between two checks of the clients' and the probe's results."""
SETTLED = 0.6
"""Seconds without a request after which there will be none."""


@dataclass(frozen=True)
class Scenario:
    """The new version's fault, and when it begins."""

    name: str
    champion: str
    """Faults by name."""
    challenger: str
    at_once: bool = False
    """From the first request, or once it has answered some."""


HARD = (
    Scenario("hard: invalid scores from the first request", "good", "nonsense", at_once=True),
    Scenario("hard: invalid scores after a good start", "good", "nonsense"),
    Scenario("hard: every request refused after a good start", "good", "refusing"),
)
SOFT = Scenario("soft: failures rise from 2% to 6%", "base", "risen", at_once=True)
UNCHANGED = Scenario("none: failures stay at 2%", "base", "as-before", at_once=True)
WITHDRAWN = Scenario("after promotion: withdrawn manually", "good", "good")
DELETED = Scenario("after promotion: deleted", "good", "good")


@dataclass(frozen=True)
class Bundle:
    """One version in the store."""

    version: str
    uri: str
    digest: str


class Shelf:
    """Bundles in the store, each digest used once: a version that was rolled back stays away."""

    def __init__(self, clinic: Clinic, wanted: Sequence[tuple[str, str]]) -> None:
        """Make a bundle for each (model, fault) and put all of them into the store."""
        archive, self._known = faults.trained(), dict[tuple[str, str], list[Bundle]]()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for number, (model, fault) in enumerate(wanted, start=1):
                version = f"{number}.0.0"
                content, digest = faults.bundle(archive, model, version, faults.FAULTS[fault])
                path = f"models/{model}-{number}.bentomodel"
                member = tarfile.TarInfo(path)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
                self._known.setdefault((model, fault), []).append(Bundle(version, f"store://{path}", digest))
        clinic.put_bytes("bundles.tar", packed.getvalue())
        clinic.kubectl(
            "exec", "store", "--", "tar", "--extract", "--file", f"{STORE}/bundles.tar", "--directory", STORE
        )

    def take(self, model: str, fault: str) -> Bundle:
        """One that was not taken before."""
        return self._known[model, fault].pop(0)


def model_version(model: str, name: str, bundle: Bundle, **rollout: object) -> dict[str, Any]:
    """A ModelVersion of that bundle."""
    spec = {
        "model": model,
        "version": bundle.version,
        "artifact": {"uri": bundle.uri, "digest": bundle.digest},
        "serving": {"resources": {"requests": {"cpu": "10m", "memory": "150Mi"}}},
        "rollout": {**ROLLOUT, **rollout},
    }
    return {"apiVersion": API_VERSION, "kind": "ModelVersion", "metadata": {"name": name}, "spec": spec}


@dataclass(frozen=True)
class Lane:
    """One model with its callers; runs follow each other in it."""

    clinic: Clinic
    traffic: Background
    shelf: Shelf
    model: str
    client: Client

    def name(self, bundle: Bundle) -> str:
        """Of its ModelVersion."""
        return f"{self.model}-v{bundle.version.partition('.')[0]}"

    def apply(self, bundle: Bundle, **rollout: object) -> None:
        """A ModelVersion of that bundle."""
        self.clinic.apply(model_version(self.model, self.name(bundle), bundle, **rollout))

    def versions(self) -> list[str]:
        """All ModelVersions of the model."""
        items = self.clinic.list("modelversions")
        return [item["metadata"]["name"] for item in items if item["spec"]["model"] == self.model]

    def watch(self, name: str) -> Watch:
        """Phase and message of a version."""
        paths = (".status.phase", ".status.message")
        return Watch(self.clinic.cluster, self.clinic.namespace, "modelversion", name, *paths)

    def address(self, name: str) -> str:
        """Of the version's pod."""
        pods = self.clinic.list("pods", "--selector", f"{names.MODEL_VERSION}={name}")
        return str(pods[0]["status"]["podIP"])

    @contextmanager
    def probed(self, address: str) -> Iterator[Probe]:
        """The pod's own count of what it was asked, while the block lasts."""
        probe = Probe(address)
        task = self.traffic.start(probe.run())
        try:
            yield probe
        finally:
            task.cancel()

    def on_trial(self, scenario: Scenario) -> Result:
        """A challenger comes, fails, and is rolled back."""
        bundle = self.shelf.take(self.model, scenario.challenger)
        is_hard = scenario in HARD
        self.client.sends_bad_rows = is_hard and scenario.at_once
        name = self.name(bundle)
        with self.watch(name) as watch:
            self.apply(bundle)
            watch.until(lambda phase, *_: phase in ("Deploying", "Canary"), PODS)
            with self.probed(self.address(name)) as probe:
                began = watch.until(lambda phase, *_: phase in ("Canary", "RolledBack"), PODS).at
                if not scenario.at_once:
                    began = self._turns_bad(probe)
                told = _is_rolled_back(watch, began)
                if told is not None:
                    self.clinic.wait("its last request", lambda: _is_quiet(probe), PODS, every=OFTEN)
        self.client.sends_bad_rows = False
        self.clinic.kubectl("delete", "modelversion", name, "--wait=false", "--ignore-not-found")
        first = probe.seen[0][0] - PERIOD if scenario.at_once else began
        return self._result(scenario, first, probe.seen[-1][0] if told else None, told)

    def _turns_bad(self, probe: Probe) -> float:
        """From now on rows are sent for which the challenger has no answer; the moment of the first."""
        self.clinic.wait("the challenger's first answers", lambda: probe.count >= FIRST_PAIRS, PODS, every=OFTEN)
        time.sleep(self.client.draw.random())  # the operator looks once a second: not always right after it
        self.client.sends_bad_rows = True
        changed = time.time()
        found = self.clinic.wait("the first of them", lambda: self.client.since(changed), PODS, every=OFTEN)
        return found[0].sent

    def taken_back(self, scenario: Scenario, before: str) -> Result:
        """A version is promoted, and then taken back: the one before, kept warm, answers again."""
        bundle = self.shelf.take(self.model, scenario.challenger)
        name = self.name(bundle)
        with self.watch(name) as watch, self.watch(before) as other:
            self.apply(bundle, strategy="direct")
            watch.until(lambda phase, *_: phase == "Champion", PODS)
            other.until(lambda phase, *_: phase == "Standby", PODS)
            self.clinic.wait("its answers", lambda: len(self._by(bundle, self.client.answers)) > FIRST_PAIRS, PODS)
            time.sleep(self.client.draw.random())
            began = time.time()
            if scenario is WITHDRAWN:
                self.clinic.kubectl("patch", "modelversion", name, "--type=merge", "--patch", WITHDRAW)
            else:
                self.clinic.kubectl("delete", "modelversion", name, "--wait=false")
            told = other.until(lambda phase, *_: phase == "Champion", PODS, began)
            self.clinic.wait("the last answer", lambda: self._by_others(bundle), PODS)
        self.clinic.kubectl("delete", "modelversion", name, "--wait=false", "--ignore-not-found")
        last = max((a.came for a in self._by(bundle, self.client.since(began))), default=began)
        return self._result(scenario, began, last, told)

    def _by(self, bundle: Bundle, answers: Sequence[Answer]) -> list[Answer]:
        return [answer for answer in answers if answer.version == bundle.version]

    def _by_others(self, bundle: Bundle) -> bool:
        """Return whether other versions answered all requests of the last seconds."""
        recent = self.client.since(time.time() - 2 * SETTLED)
        return bool(recent) and not self._by(bundle, recent)

    def _result(self, scenario: Scenario, first: float, last: float | None, told: Told | None) -> Result:
        end = max(last or 0.0, told.at if told else 0.0) or time.time()
        meanwhile = [answer for answer in self.client.since(first) if answer.sent <= end]
        # Of a champion with a fault of its own, callers get 500: the new version's refusals are 422, its nonsense is not theirs.
        lost = [a for a in meanwhile if a.code in (0, 422) or (a.code != 200 and scenario.champion == "good")]
        return Result(
            SYSTEM,
            SETTINGS,
            scenario.name,
            None if last is None else max(0.0, last - first),
            None if told is None else told.at - first,
            len(meanwhile),
            len(lost),
            UNDECIDED,
            told.words[1] if told else "",
        )


def _is_rolled_back(watch: Watch, since: float) -> Told | None:
    """When the version was; None when it was promoted, or undecided all the time that there is."""
    told = watch.first(lambda phase, *_: phase in ("RolledBack", "Champion"), UNDECIDED, since)
    return told if told is not None and told.words[0] == "RolledBack" else None


def _is_quiet(probe: Probe) -> bool:
    return bool(probe.seen) and time.time() - probe.seen[-1][0] > SETTLED


def run(clinic: Clinic, wanted: Sequence[tuple[Scenario, int]], lanes: int, rate: float) -> Iterator[Result]:
    """Run every scenario as often as it says, in this many models at once."""
    traffic = Background()
    for champion in dict.fromkeys(scenario.champion for scenario, _ in wanted):
        todo = [scenario for scenario, runs in wanted if scenario.champion == champion for _ in range(runs)]
        shares = {f"{champion}-{lane}": todo[lane::lanes] for lane in range(min(lanes, len(todo)))}
        faulty = [
            (model, fault) for model, share in shares.items() for fault in (champion, *(s.challenger for s in share))
        ]
        shelf = Shelf(clinic, faulty)
        with ThreadPoolExecutor(lanes) as pool:
            started = [
                pool.submit(_in_one_lane, _lane(clinic, traffic, shelf, model, rate), champion, share)
                for model, share in shares.items()
            ]
            for lane in started:
                yield from lane.result()


def _lane(clinic: Clinic, traffic: Background, shelf: Shelf, model: str, rate: float) -> Lane:
    client = Client(rate, keeps_connections=True, draw=random.Random(model))
    return Lane(clinic, traffic, shelf, model, client)


def _in_one_lane(lane: Lane, champion: str, scenarios: Sequence[Scenario]) -> list[Result]:
    first = lane.shelf.take(lane.model, champion)
    lane.apply(first)
    lane.clinic.wait_phase(lane.name(first), "Champion", seconds=PODS)
    address = lane.clinic.get("service", lane.model)["spec"]["clusterIP"]
    url = infer_url(f"{address}:{names.HTTP_PORT}", lane.model)
    asking = lane.traffic.start(lane.client.run(lambda: Where(url)))
    try:
        return [
            lane.taken_back(s, lane.name(first)) if s in (WITHDRAWN, DELETED) else lane.on_trial(s) for s in scenarios
        ]
    finally:
        asking.cancel()
        lane.clinic.kubectl("delete", "modelversion", "--wait=false", "--ignore-not-found", *lane.versions())
