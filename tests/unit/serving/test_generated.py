"""The generated messages are those of the proto files."""

from __future__ import annotations

from pathlib import Path

import pytest
from grpc_tools import protoc

REPOSITORY = Path(__file__).resolve().parents[3]
PROTOS = REPOSITORY / "serving" / "proto"
GENERATED = REPOSITORY / "serving" / "src" / "modelward_serving" / "_generated"


@pytest.mark.parametrize("name", sorted(path.stem for path in PROTOS.glob("*.proto")))
def test_the_committed_messages_are_what_the_proto_says(name, tmp_path):
    outputs = (f"--python_out={tmp_path}", f"--pyi_out={tmp_path}")
    assert protoc.main(["protoc", f"--proto_path={PROTOS}", *outputs, f"{name}.proto"]) == 0
    for file in (f"{name}_pb2.py", f"{name}_pb2.pyi"):
        assert (GENERATED / file).read_text() == (tmp_path / file).read_text(), "run `make generate`"
