"""The servers that we are measured against, each as its own documentation has one begin, in an environment of its own.

All serve the same ONNX graph (with one packed input) through ONNX Runtime with one thread, in one process.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.environments import python_of

SESSION = """
import os
import numpy
import onnxruntime

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = _options.inter_op_num_threads = 1
_session = onnxruntime.InferenceSession(os.environ["MODEL"], _options)


def score(rows):
    return _session.run(["score"], {"x": numpy.asarray(rows, dtype=numpy.float32)})[0].reshape(-1)
"""

BENTOML = """
import bentoml
from common import score


@bentoml.service(workers=1)
class Peer:
    @bentoml.api
    def infer(self, rows: list[list[float]]) -> list[float]:
        return score(rows).tolist()
"""

FASTAPI = """
import sys
import uvicorn
from common import score
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Rows(BaseModel):
    rows: list[list[float]]


class Scores(BaseModel):
    scores: list[float]


@app.post("/infer")
async def infer(rows: Rows) -> Scores:
    return Scores(scores=score(rows.rows).tolist())


@app.get("/ready")
async def ready() -> bool:
    return True


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
"""

LITSERVE = """
import sys
import litserve
from common import score


class Api(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return request["rows"]

    def predict(self, rows):
        return score(rows)

    def encode_response(self, scores):
        return {"scores": scores.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[1]), host="127.0.0.1", num_api_servers=1, generate_client_file=False, log_level="error")
"""

MLSERVER = """
from common import score
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Peer(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        scores = score(NumpyCodec.decode_input(payload.inputs[0]))
        output = NumpyCodec.encode_output("score", scores)
        return InferenceResponse(id=payload.id or "1", model_name=self.name, outputs=[output])
"""

KSERVE = """
import sys
import kserve
from common import score


class Peer(kserve.Model):
    def __init__(self):
        super().__init__("bench")
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        scores = score(payload.inputs[0].as_numpy())
        output = kserve.InferOutput(name="score", shape=list(scores.shape), datatype="FP32")
        output.set_data_from_numpy(scores, binary_data=False)
        return kserve.InferResponse(response_id=payload.id or "1", model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    server = kserve.ModelServer(http_port=int(sys.argv[1]), grpc_port=int(sys.argv[2]), workers=1, access_log_format=None)
    server.start([Peer()])
"""

TRITON = """
import sys
import numpy
from common import score
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


@batch
def infer(x):
    return {"score": score(x).reshape(-1, 1)}


if __name__ == "__main__":
    config = TritonConfig(http_port=int(sys.argv[1]), grpc_port=int(sys.argv[2]), allow_metrics=False, log_verbose=0)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="bench",
            infer_func=infer,
            inputs=[Tensor(name="x", dtype=numpy.float32, shape=(30,))],
            outputs=[Tensor(name="score", dtype=numpy.float32, shape=(1,))],
            config=ModelConfig(max_batch_size=64),
        )
        triton.serve()
"""


@dataclass(frozen=True)
class Peer:
    """One server that is not ours."""

    name: str
    requirements: tuple[str, ...]
    source: str
    arguments: tuple[str, ...]
    """Of its interpreter; PORT and GRPC stand for its ports."""
    ready: str
    infer: str
    protocols: tuple[str, ...] = ("rest",)
    oip: bool = False
    """Whether it supports the Open Inference Protocol."""
    files: dict[str, object] = field(default_factory=dict)
    interpreter: str = sys.executable

    def python(self, cache: Path) -> Path:
        """The interpreter of its environment, which is made when there is none."""
        return python_of(cache, self.name, ("onnxruntime", *self.requirements), self.interpreter)

    def write(self, directory: Path, port: int, grpc: int) -> list[str]:
        """Its files; returns the arguments of its interpreter."""
        directory.mkdir()
        (directory / "common.py").write_text(SESSION)
        (directory / "peer.py").write_text(self.source)

        def placed(text: str) -> str:
            return text.replace("PORT", str(port)).replace("GRPC", str(grpc))

        for name, content in self.files.items():
            (directory / name).write_text(placed(json.dumps(content)))
        return [placed(word) for word in self.arguments]


PEERS = (
    Peer(
        "BentoML",
        ("bentoml",),
        BENTOML,
        ("-m", "bentoml", "serve", "peer:Peer", "--host", "127.0.0.1", "--port", "PORT"),
        "/readyz",
        "/infer",
    ),
    Peer("FastAPI", ("fastapi", "uvicorn[standard]"), FASTAPI, ("peer.py", "PORT"), "/ready", "/infer"),
    Peer("LitServe", ("litserve",), LITSERVE, ("peer.py", "PORT"), "/health", "/predict"),
    Peer(
        "MLServer",
        ("mlserver",),
        MLSERVER,
        ("-c", "from mlserver.cli import main; main()", "start", "."),
        "/v2/health/ready",
        "/v2/models/bench/infer",
        ("rest", "grpc"),
        True,
        {
            "settings.json": {
                "host": "127.0.0.1",
                "http_port": "PORT",
                "grpc_port": "GRPC",
                "metrics_endpoint": None,
                "parallel_workers": 0,
                "debug": False,
            },
            "model-settings.json": {"name": "bench", "implementation": "peer.Peer"},
        },
    ),
    Peer(
        "KServe",
        ("kserve",),
        KSERVE,
        ("peer.py", "PORT", "GRPC"),
        "/v2/health/ready",
        "/v2/models/bench/infer",
        ("rest", "binary", "grpc"),
        True,
    ),
    Peer(
        "Triton",
        ("nvidia-pytriton",),
        TRITON,
        ("peer.py", "PORT", "GRPC"),
        "/v2/models/bench/ready",
        "/v2/models/bench/infer",
        ("rest", "binary", "grpc"),
        True,
        # The one that it embeds is old, and fails on a newer one's standard library.
        interpreter=shutil.which("python3", path=os.defpath) or sys.executable,
    ),
)
