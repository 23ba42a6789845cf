"""Flagger and Argo Rollouts, each with the settings that its own guide has, and as fast as possible.

Both look at Prometheus, which asks every pod once a second. Flagger shifts weights of an HTTPRoute of the Gateway API: the
callers follow them by themselves and at once, as a gateway without any delay would. Argo Rollouts shifts pods: one of four.
"""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from examples.clinic import Clinic, NotInTimeError
from modelward_api import names
from tests.bench.rollback import faults, programs
from tests.bench.rollback.ours import HARD, OFTEN, PODS, SOFT, UNCHANGED, Scenario
from tests.bench.rollback.result import Result
from tests.bench.rollback.traffic import Answer, Background, Client, Where, infer_url
from tests.bench.rollback.watching import Told, Watch, follow, lines

Manifest = dict[str, Any]
APP, APP_FILE = "app", Path(__file__).with_name("app.py")
OLD, NEW = "1.0.0", "2.0.0"
PROMETHEUS = "http://127.0.0.1:9090"
LABEL, OURS = "app", {"bench": "peer"}
BACK, PROMOTED = ("Failed", "Degraded"), "Succeeded"
"""Phases: Flagger's, Argo's; and Flagger's. Argo's Rollouts pause at their one step until somebody promotes them."""
LEAST = 5
"""Answers of the new version before it begins to fail."""
CUT_OFF = 0.04
"""The share of failures that they allow in the soft scenarios: in the middle, which only who knows both rates can know."""
SETTLED = 3.0
"""Seconds without an answer of the new version after which there will be none."""
SCENARIOS = {"guide": (HARD[1], SOFT), "fast": (HARD[1], SOFT, UNCHANGED)}
"""By settings. A false alarm with those of the guide would take longer than there is time."""


@dataclass(frozen=True)
class Settings:
    """How often a controller checks, over which window, and how many failed checks it tolerates."""

    short: str
    name: str
    interval: str
    window: str
    bears: int
    """Flagger's threshold, Argo's failureLimit."""
    allowed: float
    """The share of failures that a check accepts in the hard scenario, as in its guide."""
    step: int
    """Percent of requests that the new version gets at each step."""

    @property
    def told(self) -> str:
        return f"{self.name}: checks every {self.interval} over the last {self.window}, threshold {self.bears}"

    @property
    def seconds(self) -> float:
        number, unit = float(self.interval[:-1]), self.interval[-1]
        return number * (60 if unit == "m" else 1)


@dataclass(frozen=True)
class Peer(ABC):
    """One controller with one service in one scenario."""

    clinic: Clinic
    traffic: Background
    settings: Settings
    scenario: Scenario
    client: Client
    system = ""
    short = ""

    @property
    def name(self) -> str:
        """Of its objects."""
        kind = self.scenario.name.partition(":")[0]
        return f"{self.short}-{self.settings.short}-{kind}"

    @property
    def allowed(self) -> float:
        return self.settings.allowed if self.scenario in HARD else CUT_OFF

    @abstractmethod
    def begin(self) -> Callable[[], Where]:
        """Bring the good version into service; return where clients send requests."""

    @abstractmethod
    def watch(self) -> Watch:
        """Phase and message."""

    @abstractmethod
    def renew(self, template: Manifest) -> None:
        """Let that be the new version."""

    def _metadata(self) -> Manifest:
        return {"name": self.name, "labels": OURS}

    def _patch(self, kind: str, template: Manifest) -> None:
        patch = json.dumps({"spec": {"template": template}})
        self.clinic.kubectl("patch", kind, self.name, "--type=merge", "--patch", patch)

    def rolled_back(self, watch: Watch, since: float, until: float) -> Told | None:
        """When the status says so; None when it is promoted, or undecided at the end of the time that there is."""
        told = watch.first(lambda phase, *_: phase in (*BACK, PROMOTED), max(0.0, until - time.time()), since)
        return told if told is not None and told.words[0] in BACK else None

    def is_new(self, answer: Answer) -> bool:
        """Whether the new version gave that answer."""
        return answer.version == NEW

    def template(self, fault: str, run: int) -> Manifest:
        """Pods with that fault; another run is another version."""
        version = NEW if fault == self.scenario.challenger else OLD
        told = {"FAULT": json.dumps(asdict(faults.FAULTS[fault])), "VERSION": version, "RUN": str(run)}
        container = {
            "name": "app",
            "image": self.clinic.cluster.image("serving"),
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "/bench/app.py"],
            "env": [{"name": name, "value": value} for name, value in told.items()],
            "ports": [{"name": "http", "containerPort": names.HTTP_PORT}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            "volumeMounts": [{"name": "app", "mountPath": "/bench"}],
        }
        volume = {"name": "app", "configMap": {"name": APP}}
        spec = {"terminationGracePeriodSeconds": 2, "containers": [container], "volumes": [volume]}
        return {"metadata": {"labels": {LABEL: self.name, **OURS}}, "spec": spec}

    def run(self, until: float, most: int) -> list[Result]:
        """New versions, one after the other, until that time or that many."""
        where = self.begin()
        task, found = self.traffic.start(self.client.run(where)), []
        try:
            with self.watch() as watch:
                for number in range(1, most + 1):
                    if until - time.time() < 3 * self.settings.seconds and found:
                        break
                    try:
                        found.append(self._once(watch, number, until))
                    except NotInTimeError as error:  # no further figure of this one, but the others'
                        why = str(error).splitlines()[0]
                        print(f"{self.system}, {self.scenario.name}: given up: {why}", flush=True)
                        break
        finally:
            task.cancel()
        return found

    def _once(self, watch: Watch, number: int, until: float) -> Result:
        began = time.time()
        self.renew(self.template(self.scenario.challenger, number))
        self.clinic.wait("answers of the new version", lambda: self._has_begun(watch, began), 3 * PODS, every=0.1)
        if self.scenario in HARD:
            time.sleep(self.client.draw.random() * min(10.0, self.settings.seconds))
            self.client.sends_bad_rows = True
        first = self.clinic.wait("its first failure", lambda: self._failures(began), PODS, every=OFTEN)[0]
        told = self.rolled_back(watch, first.came, until)
        if told is not None:
            self.clinic.wait("its last answer", lambda: not self._of_new(time.time() - SETTLED), PODS, every=0.1)
        self.client.sends_bad_rows = False
        start = first.sent if self.scenario in HARD else self._of_new(began)[0].sent
        answers = self._of_new(start)
        end = answers[-1].came if told else time.time()
        return Result(
            self.system,
            self.settings.told,
            self.scenario.name,
            end - start if told else None,
            told.at - start if told else None,
            len([answer for answer in self.client.since(start) if answer.sent <= end]),
            len(self._failures(start)),
            time.time() - start,
            " ".join(told.words) if told else "",
        )

    def _has_begun(self, watch: Watch, since: float) -> bool:
        """The new version has answered enough, or was taken back for its first failure before it had."""
        is_back = bool(self._failures(since)) and watch.now[0] in BACK
        return is_back or len(self._of_new(since)) >= LEAST

    def _of_new(self, since: float) -> list[Answer]:
        return [answer for answer in self.client.since(since) if self.is_new(answer)]

    def _failures(self, since: float) -> list[Answer]:
        return [answer for answer in self.client.since(since) if answer.code != 200 and self.is_new(answer)]


@dataclass(frozen=True)
class Flagger(Peer):
    """Weights of an HTTPRoute."""

    system = f"Flagger {programs.FLAGGER_VERSION}"
    short = "flagger"

    def begin(self) -> Callable[[], Where]:
        selector = {"matchLabels": {LABEL: self.name}}
        spec = {"replicas": 1, "selector": selector, "template": self.template(self.scenario.champion, 0)}
        workload = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": self._metadata(), "spec": spec}
        self.clinic.apply(workload, self._metric(), self._canary())
        self.clinic.wait(f"{self.name}: its first version", lambda: self._phase() == "Initialized", 3 * PODS)
        address = {w: self._address(f"{self.name}-{w}") for w in ("primary", "canary")}
        urls = {w: Where(infer_url(f"{found}:{names.HTTP_PORT}", APP), w) for w, found in address.items()}
        path = ".spec.rules[0].backendRefs[*].weight"
        route = Watch(self.clinic.cluster, self.clinic.namespace, "httproute", self.name, path)
        route.until(lambda weights: weights, PODS)

        def by_weight() -> Where:
            _, canary = route.now[0].split()
            return urls["canary" if self.client.draw.random() * 100 < float(canary) else "primary"]

        return by_weight

    def is_new(self, answer: Answer) -> bool:
        return answer.version == "canary"

    def watch(self) -> Watch:
        paths = (".status.phase", ".status.failedChecks")
        return Watch(self.clinic.cluster, self.clinic.namespace, "canary", self.name, *paths)

    def renew(self, template: Manifest) -> None:
        self._patch("deployment", template)

    def _phase(self) -> str | None:
        return self.clinic.status("canary", self.name).get("phase")

    def _address(self, service: str) -> str:
        return str(self.clinic.get("service", service)["spec"]["clusterIP"])

    def _metric(self) -> Manifest:
        pods = 'namespace="{{ namespace }}",pod=~"{{ target }}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"'
        failed = f'sum(rate(modelward_requests_total{{{pods},code!="200"}}[{{{{ interval }}}}])) or vector(0)'
        query = f"100 * ({failed}) / sum(rate(modelward_requests_total{{{pods}}}[{{{{ interval }}}}]))"
        spec = {"provider": {"type": "prometheus", "address": PROMETHEUS}, "query": query}
        return {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "MetricTemplate",
            "metadata": {"name": self.name},
            "spec": spec,
        }

    def _canary(self) -> Manifest:
        settings = self.settings
        metric = {
            "name": "error-rate",
            "templateRef": {"name": self.name},
            "thresholdRange": {"max": 100 * self.allowed},
            "interval": settings.window,
        }
        analysis = {
            "interval": settings.interval,
            "threshold": settings.bears,
            "maxWeight": 50,
            "stepWeight": settings.step,
            "metrics": [metric],
        }
        spec = {
            "provider": "gatewayapi:v1",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.name},
            "progressDeadlineSeconds": 600,
            "service": {
                "port": names.HTTP_PORT,
                "targetPort": names.HTTP_PORT,
                "hosts": [f"{self.name}.example.com"],
                "gatewayRefs": [{"name": "gateway", "namespace": self.clinic.namespace}],
            },
            "analysis": analysis,
        }
        return {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": self.name}, "spec": spec}


@dataclass(frozen=True)
class Argo(Peer):
    """Pods of a ReplicaSet."""

    system = f"Argo Rollouts {programs.ARGO_VERSION}"
    short = "argo"

    def begin(self) -> Callable[[], Where]:
        ports = [{"port": names.HTTP_PORT, "targetPort": names.HTTP_PORT}]
        spec = {"selector": {LABEL: self.name}, "ports": ports}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": self._metadata(), "spec": spec}
        self.clinic.apply(service, self._analysis(), self._rollout())
        self.clinic.wait(f"{self.name}: its first version", self._is_healthy, 3 * PODS)
        address = self.clinic.get("service", self.name)["spec"]["clusterIP"]
        where = Where(infer_url(f"{address}:{names.HTTP_PORT}", APP))
        return lambda: where

    def _is_healthy(self) -> bool:
        return bool(self.clinic.status("rollout", self.name).get("phase") == "Healthy")

    def watch(self) -> Watch:
        paths = (".status.phase", ".status.message")
        return Watch(self.clinic.cluster, self.clinic.namespace, "rollout", self.name, *paths)

    def renew(self, template: Manifest) -> None:
        self._patch("rollout", template)

    def _analysis(self) -> Manifest:
        pods = f'namespace="{self.clinic.namespace}",hash="{{{{args.hash}}}}"'
        total = f"sum(rate(modelward_requests_total{{{pods}}}[{self.settings.window}]))"
        good = f'sum(rate(modelward_requests_total{{{pods},code="200"}}[{self.settings.window}]))'
        metric = {
            "name": "success-rate",
            "interval": self.settings.interval,
            "failureLimit": self.settings.bears,
            "successCondition": f"len(result) == 0 || isNaN(result[0]) || result[0] >= {1 - self.allowed:g}",
            "provider": {"prometheus": {"address": PROMETHEUS, "query": f"{good} / {total}"}},
        }
        spec = {"args": [{"name": "hash"}], "metrics": [metric]}
        metadata = {"name": self.name}
        return {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": metadata, "spec": spec}

    def _rollout(self) -> Manifest:
        hashed = {"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}
        canary = {
            "analysis": {"templates": [{"templateName": self.name}], "args": [hashed]},
            "steps": [{"setWeight": self.settings.step}, {"pause": {}}],
        }
        spec = {
            "replicas": 4,
            "selector": {"matchLabels": {LABEL: self.name}},
            "template": self.template(self.scenario.champion, 0),
            "strategy": {"canary": canary},
        }
        return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": self.name}, "spec": spec}


SETTINGS: dict[type[Peer], tuple[Settings, ...]] = {
    Flagger: (
        Settings("guide", "as in its guide", "1m", "1m", bears=5, allowed=0.01, step=10),
        Settings("fast", "as fast as possible", "10s", "10s", bears=1, allowed=0.01, step=20),
    ),
    Argo: (
        Settings("guide", "as in its guide", "5m", "5m", bears=3, allowed=0.05, step=25),
        Settings("fast", "as fast as possible", "1s", "10s", bears=0, allowed=0.05, step=25),
    ),
}


ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")
PROMETHEUS_SETTINGS = """global: {{scrape_interval: 1s}}
scrape_configs:
- {{job_name: pods, file_sd_configs: [{{files: [{targets}]}}]}}
"""


def tell_targets(process: subprocess.Popen[str], file: Path) -> None:
    """Every pod's address for Prometheus, at each change: Debian's knows nothing of Kubernetes."""
    known: dict[str, Manifest] = {}
    for namespace, pod, version, address, deleted in lines(process):
        known.pop(pod, None)
        if address and not deleted:
            labels = {"namespace": namespace, "pod": pod, "hash": version}
            known[pod] = {"targets": [f"{address}:{names.HTTP_PORT}"], "labels": labels}
        staging = file.with_suffix(".new")
        staging.write_text(json.dumps(list(known.values())))
        staging.rename(file)


@contextmanager
def controllers(clinic: Clinic, folder: Path) -> Iterator[None]:
    """Prometheus and both controllers, as processes in the node's network, until the block ends."""
    cluster = clinic.cluster
    config = folder / "prometheus.yaml"
    config.write_text(PROMETHEUS_SETTINGS.format(targets=folder / "targets.json"))
    kubeconfig = str(cluster.kubeconfig)
    commands = {
        "prometheus": ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'metrics'}",
                       "--web.listen-address=127.0.0.1:9090"],
        "flagger": [str(programs.flagger(cluster)), "-kubeconfig", kubeconfig, "-mesh-provider", "gatewayapi:v1",
                    "-metrics-server", PROMETHEUS, "-port", "18080", "-namespace", clinic.namespace],
        "argo": [str(programs.argo(cluster)), "--kubeconfig", kubeconfig, "--leader-elect=false",
                 "--metricsPort", "18090", "--healthzPort", "18091"],
    }  # fmt: skip
    with ExitStack() as stack:
        for name, words in commands.items():
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen([*ENDS_WITH_US, *words], stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        paths = (".metadata.namespace", ".metadata.name", ".metadata.labels.rollouts-pod-template-hash")
        paths += (".status.podIP", ".metadata.deletionTimestamp")
        pods = follow(cluster, clinic.namespace, "pods", "--selector=bench=peer", *paths)
        stack.callback(pods.terminate)
        threading.Thread(target=tell_targets, args=(pods, folder / "targets.json"), daemon=True).start()
        clinic.wait("Prometheus", lambda: _answers(f"{PROMETHEUS}/-/ready"), 60)
        yield


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


@dataclass(frozen=True)
class Options:
    """How long, how often, how many requests a second to each service."""

    seconds: float
    most: int
    rate: float


def clean(clinic: Clinic) -> None:
    """What an earlier run has left goes."""
    clinic.kubectl("delete", "canary,rollout", "--all", "--timeout=60s")
    clinic.kubectl("delete", "deployment,service", "--selector", "bench=peer", "--timeout=60s")


def run(clinic: Clinic, folder: Path, options: Options) -> Iterator[Result]:
    """Every controller with both settings in every scenario, all at the same time; none needs much of the machine."""
    traffic, found = Background(), []
    files = {"app.py": APP_FILE.read_text()}
    clean(clinic)
    clinic.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": APP}, "data": files})
    until = time.time() + options.seconds
    with controllers(clinic, folder), ThreadPoolExecutor(32) as pool:
        for kind, settings in SETTINGS.items():
            for chosen in settings:
                for scenario in SCENARIOS[chosen.short]:
                    client = Client(
                        options.rate, keeps_connections=False, draw=random.Random(f"{kind.short} {chosen.short}")
                    )
                    peer = kind(clinic, traffic, chosen, scenario, client)
                    found.append(pool.submit(peer.run, until, options.most))
        for peer_found in found:
            yield from peer_found.result()
        clean(clinic)
