"""The control ports of many serving pods, on loopback addresses, in a process of their own: `python -m tests.bench.pods PLAN`.

Real HTTP over kept connections. What they count grows with each exchange, so that no answer is like the one before.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from modelward_api import names
from modelward_api.wire.exchange import PairedCounts
from tests.support.builders import documents

STRATA = ("sex=female", "sex=male", "age=old", "age=young")


@dataclass(frozen=True)
class Pod:
    """One pod as the others know it."""

    ip: str
    name: str
    model: str
    version: str
    digest: str
    challenger: str | None = None
    """The challenger that it has evidence about, in four strata."""


def address(number: int) -> str:
    """A loopback address for each number."""
    return f"127.77.{number >> 8}.{number & 255}"


@contextmanager
def serving(folder: Path, pods: list[Pod], port: int = names.CONTROL_PORT) -> Iterator[subprocess.Popen[str]]:
    """Let them answer."""
    plan = folder / "pods.json"
    plan.write_text(json.dumps({"port": port, "pods": [asdict(pod) for pod in pods]}))
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.pods", str(plan)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


class Ports:
    """All of them."""

    def __init__(self, pods: list[Pod]) -> None:
        self._pods = {pod.ip: pod for pod in pods}
        self._pairs = dict.fromkeys(self._pods, 0)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        pod = self._pods[request.transport.get_extra_info("sockname")[0]]
        if request.path == names.DOCUMENTS_PATH:
            found = documents("v1").model_copy(update={"digest": pod.digest})
            return _json(found.to_json())
        asked = json.loads(await request.read())
        self._pairs[pod.ip] += 7
        return _json(self._told(pod, asked.get("lease")))

    def _told(self, pod: Pod, lease: dict[str, Any] | None) -> dict[str, object]:
        held = lease and {
            "epoch": lease["epoch"],
            "sequence": lease["sequence"],
            "challenger": lease["challenger"]["digest"],
            "weight": lease["weight"],
        }
        counts = _counts(self._pairs[pod.ip])
        evidence = {"challenger": pod.challenger, "counts": counts, "strata": dict.fromkeys(STRATA, counts)}
        return {
            "pod": pod.name,
            "instance": f"{pod.name}-1",
            "model": pod.model,
            "version": pod.version,
            "digest": pod.digest,
            **({"lease": held} if held else {}),
            "evidence": [evidence] if pod.challenger else [],
            "requests": self._pairs[pod.ip],
        }


def _counts(pairs: int) -> dict[str, object]:
    return PairedCounts(
        pairs=pairs,
        compared=pairs,
        requests=pairs,
        answered=pairs // 10,
        late_both=pairs // 100,
        slower_challenger=(pairs // 9, pairs // 20, pairs // 50),
        slower_champion=(pairs // 8, pairs // 21, pairs // 49),
        higher_challenger=(pairs // 30,) * 9,
        higher_champion=(pairs // 31,) * 9,
    ).to_json()


def _json(document: dict[str, object]) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), content_type="application/json")


async def main(plan: dict[str, Any]) -> None:
    pods = [Pod(**pod) for pod in plan["pods"]]
    server = web.Server(Ports(pods).answer, access_log=None)
    await asyncio.get_running_loop().create_server(server, [pod.ip for pod in pods], plan["port"], backlog=16)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
