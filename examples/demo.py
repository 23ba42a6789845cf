"""`make demo`: one model's life on a real cluster, told as it happens.

Cluster, images and chart; a first version trained and put in charge; live requests; a better version promoted on evidence;
a broken one rolled back; a shift in the data noticed. At the end, the caller's count of failed requests.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from examples import monica
from examples.clinic import MANIFESTS, Clinic, Replay, transitions
from tests.support.cluster import ClusterError, ensure_cluster

NAMESPACE = "clinic"
STARTED = time.monotonic()


def say(text: str) -> None:
    minutes, seconds = divmod(time.monotonic() - STARTED, 60)
    print(f"[{int(minutes)}:{seconds:04.1f}] {text}", flush=True)


def follow(clinic: Clinic, name: str, ends: tuple[str, ...], seconds: float) -> dict[str, Any]:
    """Print what happens to a version until it is in one of the phases."""
    deadline, shown = time.monotonic() + seconds, 0.0
    for version, phase, message in transitions(clinic, [name]):
        if phase and (phase != "Canary" or time.monotonic() - shown > 5):
            shown = time.monotonic()
            say(f"      {version} {phase}: {message}")
        if version and phase in ends:
            return clinic.status("modelversion", name)
        if time.monotonic() > deadline:
            sys.exit(f"{name} is not {' or '.join(ends)} after {seconds:g} s\n{clinic.report()}")
    raise AssertionError


def trained(clinic: Clinic, number: int) -> None:
    """Apply a TrainingJob, follow it, and say how good the model is."""
    clinic.train(number)
    name, told = f"mortality-v{number}", ""
    while True:
        status = clinic.status("trainingjob", name)
        message = f"{status.get('phase')}: {status.get('message')}"
        if message != told and status.get("phase"):
            say(f"      TrainingJob {name} {message}")
            told = message
        if status.get("phase") == "Failed":
            sys.exit(clinic.report())
        if status.get("phase") == "Complete":
            break
        time.sleep(0.5)
    for metric in status.get("metrics", []):
        interval = f" ({metric['lower']:.3f} to {metric['upper']:.3f})" if "lower" in metric else ""
        say(f"        {metric['name']} {metric['estimate']:.3f}{interval}")
    say(f"        ONNX and scikit-learn differ by at most {status.get('parity')}, on test rows and extreme values")


def prepare(options: argparse.Namespace) -> Clinic:
    say("1. A Kubernetes cluster, and the images")
    cluster = ensure_cluster(nodes=options.nodes, images=True)
    clinic = Clinic(cluster, NAMESPACE)
    say(f"   KUBECONFIG={cluster.kubeconfig}")
    if not options.keep and clinic.get("namespace", NAMESPACE):
        say("   removing what an earlier demo left")
        clinic.kubectl("delete", "mv,tj,dm", "--all", "--timeout=120s")
        clinic.kubectl("delete", "namespace", NAMESPACE, "--timeout=180s")
    say("2. helm upgrade --install modelward charts/modelward")
    clinic.install()
    say("3. Data: MONICA, coronary events of 1985 and 1986, into the artifact store")
    clinic.put("data/monica-1985-1986.csv", monica.as_csv(monica.hospitalised(85, 86)))
    return clinic


def first_version(clinic: Clinic) -> Replay:
    say("4. kubectl apply: TrainingJob mortality-v1 trains, checks, exports; its ModelVersion becomes the champion")
    trained(clinic, 1)
    follow(clinic, "mortality-v1", ("Champion",), 180)
    say("5. A clinical service starts to ask: events of 1987 to 1993, 40 requests a second")
    return clinic.start_replay("ward", monica.as_csv(monica.hospitalised(87, 93)), "--rate", "40")


def better_version(clinic: Clinic) -> None:
    say("6. Version 2, better: compared with version 1 on the same requests, then promoted")
    trained(clinic, 2)
    follow(clinic, "mortality-v2", ("Champion",), 300)


def broken_version(clinic: Clinic, replay: Replay) -> None:
    say("7. Version 3, broken (somebody swapped the label): noticed, and rolled back")
    trained(clinic, 3)
    follow(clinic, "mortality-v3", ("RolledBack",), 300)
    counts = replay.counts()
    answers = counts["versions"].get("3.0.0", 0)
    if answers:
        lasted = counts["last"]["3.0.0"] - counts["first"]["3.0.0"]
        say(f"   {answers} callers got an answer of version 3, within {lasted:.1f} s of each other")
    say("   kubectl apply of the same manifest again:")
    item = clinic.get("modelversion", "mortality-v3")
    again = {key: item[key] for key in ("apiVersion", "kind", "spec")}
    clinic.kubectl("delete", "modelversion", "mortality-v3")
    clinic.apply({**again, "metadata": {"name": "mortality-v3"}})
    follow(clinic, "mortality-v3", ("Quarantined",), 60)


def drift(clinic: Clinic, replay: Replay) -> list[dict[str, Any]]:
    say("8. A DriftMonitor, and another population: older patients, cholesterol mostly unknown")
    clinic.kubectl("apply", "--filename", str(MANIFESTS / "driftmonitor.yaml"))
    clinic.wait("the monitor's first window", lambda: clinic.status("driftmonitor", "mortality").get("windowSince"), 60)
    first = replay.stop()
    rows = monica.as_csv(monica.hospitalised(87, 93))
    shifted = clinic.start_replay("ward-shifted", rows, "--rate", "40", "--shifted")
    clinic.wait("drift", lambda: clinic.status("driftmonitor", "mortality").get("state") == "Drifting", 180)
    say(f"      {clinic.status('driftmonitor', 'mortality')['message']}")
    return [first, shifted.stop()]


def conclude(clinic: Clinic, counts: list[dict[str, Any]]) -> int:
    print(clinic.kubectl("get", "mv,tj,dm"))
    sent, failed = sum(c["sent"] for c in counts), sum(c["failed"] for c in counts)
    say(f"The callers sent {sent} requests; {failed} failed {[c['reasons'] for c in counts if c['reasons']] or ''}")
    print(f"""
Try next
  export KUBECONFIG={clinic.cluster.kubeconfig}
  kubectl -n {NAMESPACE} describe mv mortality-v2      how the evidence grew, and what was decided
  kubectl -n {NAMESPACE} describe mv mortality-v3      why it was rolled back, and why it stays away
  kubectl -n {NAMESPACE} get dm mortality -o yaml      what shifted, and how sure that is
  kubectl -n {NAMESPACE} delete mv mortality-v2        version 1 is warm: it takes over at once
  make cluster-down                                removes the cluster
(kubectl is also: python -m tests.support.cluster kubectl)""")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1, help="nodes of the embedded cluster")
    parser.add_argument("--keep", action="store_true", help="go on with what an earlier demo left")
    try:
        clinic = prepare(parser.parse_args())
        replay = first_version(clinic)
        better_version(clinic)
        broken_version(clinic, replay)
        return conclude(clinic, drift(clinic, replay))
    except ClusterError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
