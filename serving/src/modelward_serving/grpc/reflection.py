"""gRPC server reflection: services and their messages. Its versions differ only in name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2 as pb

SERVICE = "grpc.reflection.v1alpha.ServerReflection"
PATHS = tuple(
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo".encode() for version in ("v1", "v1alpha")
)
MAX_QUESTION = 1024
"""Bytes of a request: a name."""
MAX_QUESTIONS = 100
"""Requests per call: clients send about one for each file."""
_NOT_FOUND = 5


def respond(content: bytes, services: Iterable[str]) -> bytes:
    """Return the response to one request.

    Raises:
        google.protobuf.message.DecodeError: the bytes are not a request.
    """
    request = pb.ServerReflectionRequest.FromString(content)
    response = pb.ServerReflectionResponse(valid_host=request.host, original_request=request)
    if request.WhichOneof("message_request") == "list_services":
        response.list_services_response.service.extend(pb.ServiceResponse(name=name) for name in services)
        return _bytes(response)
    found = _file(request)
    if found is None:
        response.error_response.error_code = _NOT_FOUND
        response.error_response.error_message = "no such file, symbol or extension"
        return _bytes(response)
    return _bytes(response) + _described(found.name)


def _file(request: pb.ServerReflectionRequest) -> FileDescriptor | None:
    pool = descriptor_pool.Default()
    try:
        if request.HasField("file_by_filename"):
            return pool.FindFileByName(request.file_by_filename)
        if request.HasField("file_containing_symbol"):
            return pool.FindFileContainingSymbol(request.file_containing_symbol)
    except KeyError:
        pass
    return None


@lru_cache(maxsize=64)
def _described(name: str) -> bytes:
    """Return the part of a response with a file and its dependencies: serialized messages can be concatenated."""
    response = pb.ServerReflectionResponse()
    wanted, files = [descriptor_pool.Default().FindFileByName(name)], dict[str, FileDescriptor]()
    while wanted:
        file = wanted.pop()
        if file.name not in files:
            files[file.name] = file
            wanted += file.dependencies
    response.file_descriptor_response.file_descriptor_proto.extend(map(_serialized, files.values()))
    return _bytes(response)


def _serialized(file: FileDescriptor) -> bytes:
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    return _bytes(proto)


def _bytes(message: Message) -> bytes:
    content: bytes = message.SerializeToString()
    return content
