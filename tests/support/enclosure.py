"""A network that leads nowhere, a component that works in it, and what it tried to send.

`python -m tests.support.enclosure COMPONENT FOLDER [ROOT]` runs in namespaces of its own, as `enclosed` starts it:
every address is reached over the loopback device, where nobody answers, and a socket there sees each packet.
ROOT is the root filesystem of an image; without it the component runs as on a desk.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from examples import monica
from modelward_api import telemetry
from tests.support.cluster.layout import REPOSITORY
from tests.support.control_plane import CRDS, api_server

ADDRESS, RESOLVER = "10.99.0.2", "10.99.0.1"
WINDOW = 13.0
"""Seconds that a component is watched from its start on. ONNX Runtime 1.32 asks for the name of its maker's collector 9 seconds
after it was imported, which takes half a second."""
BUILD_SERVERS = (
    *("APPVEYOR", "BITBUCKET_BUILD_NUMBER", "BUILDKITE", "CI", "CIRCLECI", "CODEBUILD_BUILD_ID", "GITHUB_ACTIONS"),
    *("GITLAB_CI", "JENKINS_URL", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI", "TEAMCITY_VERSION", "TF_BUILD", "TRAVIS"),
)
"""Variables by which ONNX Runtime recognises a build server, where it sends nothing. A hospital's pod has none of them."""
IMAGE = "image.json"
ENOUGH = "enough"
"""A file that tells a component's watcher that nobody wants to wait any longer."""
MARK = "enclosure: "


@dataclass(frozen=True)
class Heard:
    """The packets that a component tried to send, and the files in its home."""

    sent: tuple[str, ...]
    kept: tuple[str, ...]


@contextmanager
def enclosed(
    component: str, folder: Path, image: tuple[Path, Mapping[str, str]] | None = None
) -> Iterator[Callable[[], Heard]]:
    """Start that component, from an image's root and environment if there is one; the function gives what was heard."""
    user = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    apart = ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    argv = [
        *apart,
        sys.executable,
        "-m",
        "tests.support.enclosure",
        component,
        str(folder),
        *([str(image[0])] if image else []),
    ]
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    folder.mkdir()
    if image is not None:
        (folder / IMAGE).write_text(json.dumps(dict(image[1])))
    process = subprocess.Popen(
        argv, env=env, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

    def heard() -> Heard:
        (folder / ENOUGH).touch()
        said, _ = process.communicate(timeout=100)
        assert process.returncode == 0, said
        line = next(line for line in said.splitlines() if line.startswith(MARK))
        return Heard(**{key: tuple(value) for key, value in json.loads(line.removeprefix(MARK)).items()})

    try:
        yield heard
    finally:
        process.kill()
        process.wait()


class Enclosure:
    """The inside: the network, the listener, and where the component runs."""

    def __init__(self, folder: Path, root: Path | None) -> None:
        self.folder, self.root, self.sent = folder, root, list[str]()
        self.home, self.work = folder / "home", folder / "work"
        for path in (self.home, self.work):
            path.mkdir()
            path.chmod(0o777)
        self.started = 0.0
        self.open = ExitStack().enter_context
        for words in (
            "ip link set lo up",
            f"ip address add {ADDRESS}/32 dev lo",
            f"ip route add default dev lo src {ADDRESS}",
            "ip -6 route add default dev lo",
        ):
            subprocess.run(words.split(), check=True)
        resolver = folder / "resolv.conf"
        resolver.write_text(f"nameserver {RESOLVER}\n")
        self._mount("--bind", resolver, "/etc/resolv.conf")
        if root is not None:
            (root / "etc/resolv.conf").write_text(resolver.read_text())
            # As the kubelet does: a pod finds its own name without asking anybody.
            (root / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
            (root / str(folder).lstrip("/")).mkdir(parents=True, exist_ok=True)
            self._mount("--rbind", "/dev", root / "dev")
            self._mount("--rbind", "/proc", root / "proc")
            self._mount("--bind", folder, root / str(folder).lstrip("/"))
        self._listen()

    def start(self, code: str, *words: object, **env: str) -> subprocess.Popen[bytes]:
        """Python with that code, as on a desk or as the image's user with the image's environment."""
        argv = ["python" if self.root else sys.executable, "-c", code, *map(str, words)]
        home = {"HOME": str(self.home), "TMPDIR": str(self.work), "BENTOML_HOME": str(self.work / "bentoml"), **env}
        self.started = time.monotonic()
        if self.root is None:
            told = {
                name: value for name, value in os.environ.items() if name not in {*telemetry.VARIABLES, *BUILD_SERVERS}
            }
            return subprocess.Popen(argv, env={**told, **home})
        image = json.loads((self.folder / IMAGE).read_text())
        settings = [f"{name}={value}" for name, value in {**image, **home}.items()]
        return subprocess.Popen(["chroot", "--userspec=65532:65532", self.root, "env", "-i", *settings, *argv])

    def kept(self) -> list[str]:
        """Files in its home, where ONNX Runtime keeps what it could not send."""
        return sorted(str(p.relative_to(self.home)) for p in self.home.rglob("*") if p.is_file())

    @staticmethod
    def _mount(*words: object) -> None:
        subprocess.run(["mount", *map(str, words)], check=True)

    def _listen(self) -> None:
        everything = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
        everything.bind(("lo", 0))

        def listen() -> None:
            while True:
                packet = everything.recv(65535)
                if (told := destination(packet)) and told not in self.sent:
                    self.sent.append(told)

        threading.Thread(target=listen, daemon=True).start()


def destination(packet: bytes) -> str | None:
    """Return an IP packet's destination and a DNS query's name, unless it stays on this machine."""
    if packet[0] >> 4 == 4:
        protocol, to, rest = packet[9], socket.inet_ntoa(packet[16:20]), packet[(packet[0] & 15) * 4 :]
        inside = to == ADDRESS or to.startswith("127.")
    else:
        protocol, to, rest = packet[6], socket.inet_ntop(socket.AF_INET6, packet[24:40]), packet[40:]
        inside = to == "::1"
    port = struct.unpack("!H", rest[2:4])[0] if protocol in (6, 17) else 0
    if inside and port != 53:
        return None
    if protocol == 1 and to == ADDRESS:
        return None
    asked = " " + question(rest[20:]) if port == 53 and protocol == 17 else ""
    return f"{ {6: 'tcp', 17: 'udp'}.get(protocol, protocol) } {to}:{port}{asked}"


def question(text: bytes) -> str:
    """The name in a DNS query, from behind its header."""
    labels, at = [], 0
    while at < len(text) and text[at]:
        labels.append(text[at + 1 : at + 1 + text[at]].decode(errors="replace"))
        at += 1 + text[at]
    return ".".join(labels)


STAYS = "; import time; time.sleep(90)"
"""A process that has done its work is kept for as long as it is watched."""


def entry(component: str) -> str:
    """Run as `python -m` does, and keep the process."""
    return f"from modelward_{component}.__main__ import main; print('code', main(), flush=True){STAYS}"


def bare(inside: Enclosure) -> None:
    """ONNX Runtime as its makers ship it, until it calls home: under load that takes longer."""
    inside.start("import onnxruntime" + STAYS)
    until(lambda: inside.sent)


def serving(inside: Enclosure) -> None:
    """A server that scores, explains nothing, and shows BentoML's own pages; and its other two commands."""
    from tests.support import bundles

    bundle = inside.folder / "bundle"
    digest = bundles.write(bundle)
    ports = {"--port": 18080, "--grpc-port": 19000, "--control-port": 18090}
    words = [word for pair in ports.items() for word in pair]
    end = ["--termination-log", inside.work / "end"]
    inside.start(entry("serving"), "serve", "--bundle", bundle, "--digest", digest, "--host", "127.0.0.1", *words, *end)
    data = [{"name": "age", "shape": [1, 1], "datatype": "FP32", "data": [55.0]}]
    data += [{"name": "sex", "shape": [1, 1], "datatype": "BYTES", "data": ["f"]}]
    until(lambda: ready("http://127.0.0.1:18090/readyz"))
    for _ in range(20):
        answer = httpx.post("http://127.0.0.1:18080/v2/models/mortality/infer", json={"inputs": data})
        assert answer.status_code == 200, answer.text
    for path in ("/", "/docs.json", "/metrics", "/livez"):
        httpx.get(f"http://127.0.0.1:18080{path}", timeout=30)
    (inside.work / "rows.csv").write_text("age,sex\n55,f\n61,m\n")
    where = [
        "--input",
        "store://rows.csv",
        "--store",
        f"file://{inside.work}",
        "--format",
        "csv",
        "--output",
        "store://scores",
    ]
    inside.start(entry("serving"), "batch", "--bundle", bundle, "--digest", digest, *where, *end)


def training(inside: Enclosure) -> None:
    """A TrainingJob of the demo, from data to bundle."""
    store, end = inside.work, inside.work / "end"
    (store / "data").mkdir()
    (store / "data" / "monica-1985-1986.csv").write_text(monica.as_csv(monica.hospitalised(85, 86)))
    spec = yaml.safe_load((REPOSITORY / "examples/mortality/trainingjob-v2.yaml").read_text())["spec"]
    spec["evaluation"]["bootstrap"] = 20
    (inside.folder / "job.json").write_text(json.dumps({"name": "job", "spec": spec}))
    words = ["run", "--spec", inside.folder / "job.json", "--store", f"file://{store}"]
    inside.start(entry("training"), *words, "--termination-log", end, "--port", 18091)
    until(lambda: end.read_text())
    outcome = json.loads(end.read_text())
    assert outcome["succeeded"], outcome


def operator(inside: Enclosure) -> None:
    """An operator that leads, before an API server of its own."""
    (inside.folder / "plane").mkdir()
    plane = inside.open(api_server(inside.folder / "plane"))
    plane.kubectl("apply", "--server-side", *(word for crd in CRDS for word in ("--filename", str(crd))))
    plane.kubeconfig.chmod(0o644)  # the image's user reads it
    inside.start(entry("operator"), "run", "--health-port", 18081, "--metrics-port", 18082, **wants(plane.kubeconfig))
    until(lambda: httpx.get("http://127.0.0.1:18081/readyz").text.startswith("leader"))


def wants(kubeconfig: Path) -> Mapping[str, str]:
    """The operator's settings."""
    images = {"MODELWARD_SERVING_IMAGE": "serving:1", "MODELWARD_TRAINING_IMAGE": "training:1"}
    return {**images, "KUBECONFIG": str(kubeconfig), "MODELWARD_NAMESPACES": "default", "POD_NAMESPACE": "default"}


def ready(url: str) -> bool:
    return httpx.get(url).status_code == 200


def until(condition: Callable[[], object]) -> None:
    """Wait for what must come."""
    deadline = time.monotonic() + 75
    while True:
        try:
            if condition():
                return
        except (httpx.TransportError, OSError):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.1)


COMPONENTS = {"bare": bare, "serving": serving, "training": training, "operator": operator}


def main() -> None:
    """Let it work, watch it for as long as it takes to call home, and tell."""
    component, folder, *root = sys.argv[1:]
    inside = Enclosure(Path(folder), Path(root[0]) if root else None)
    COMPONENTS[component](inside)
    time.sleep(max(1.0, inside.started + WINDOW - time.monotonic()))
    until((inside.folder / ENOUGH).exists)
    print(MARK + json.dumps({"sent": inside.sent, "kept": inside.kept()}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
