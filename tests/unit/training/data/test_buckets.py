"""Buckets of clouds: servers that list and serve as S3, Google and Azure do, with the credentials of the environment."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from modelward_training.data.harmonise import harmonise
from modelward_training.data.sources import read
from modelward_training.errors import InvalidInputError, StoreError
from tests.unit.training.data.test_sources import PLAIN, declared

FILES = {
    "visits/2024-1.csv": PLAIN.encode(),
    "visits/2024-2.csv.gz": gzip.compress(PLAIN.encode()),
    "visits/deep/2024-3.csv": PLAIN.encode() + b"\n",
    "visits/_SUCCESS": b"",
    "visits-old/2024-1.csv": b"age,sex,died\n7,m,no\n",
}
ENTRY = "<Contents><Key>{}</Key><Size>{}</Size><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>x</ETag></Contents>"
BLOB = (
    "<Blob><Name>{}</Name><Properties><Last-Modified>Mon, 01 Jan 2024 00:00:00 GMT</Last-Modified><Content-Length>{}"
    "</Content-Length><Content-Type>text/csv</Content-Type><Etag>x</Etag></Properties></Blob>"
)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        address = urlsplit(self.path)
        query, key = parse_qs(address.query), unquote(address.path).partition("/bucket")[2].lstrip("/")
        status, body = 200, FILES.get(key, b"")
        prefix = query.get("prefix", [""])[0]
        found = {name: content for name, content in FILES.items() if name.startswith(prefix)}
        if "list-type" in query:
            entries = "".join(ENTRY.format(name, len(content)) for name, content in found.items())
            body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()
        elif "comp" in query:
            entries = "".join(BLOB.format(name, len(content)) for name, content in found.items())
            body = f"<EnumerationResults><Blobs>{entries}</Blobs><NextMarker/></EnumerationResults>".encode()
        elif key.startswith("denied"):
            status = 403
        elif key not in FILES:
            status = 404
        self.send_response(status)
        for name, value in (
            ("Content-Length", len(body)), ("ETag", '"x"'), ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ):  # fmt: skip
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()


@pytest.fixture(params=["s3", "gs", "az"])
def bucket(request, server, monkeypatch):
    google = {
        "gcs_base_url": server,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    for name, value in {
        "AWS_ENDPOINT_URL": server, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "x", "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b", "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(google), "AZURE_STORAGE_ACCOUNT_NAME": "a",
        "AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(b"key").decode(), "AZURE_ALLOW_HTTP": "true",
        "AZURE_STORAGE_ENDPOINT": server, "AZURE_ENDPOINT": server,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return f"{request.param}://bucket"


def ages(uri):
    data = declared(uri=uri)
    return harmonise(data, read(data, None)).frame.collect()["age"].to_list()


def test_a_file_a_folder_and_a_pattern_of_a_bucket_are_read(bucket):
    assert ages(f"{bucket}/visits/2024-1.csv") == [40.5, 1200.0]
    assert ages(f"{bucket}/visits/") == [40.5, 1200.0] * 3
    assert ages(f"{bucket}/visits/*.csv") == [40.5, 1200.0]
    assert ages(f"{bucket}/visits*/2024-1.csv") == [7.0, 40.5, 1200.0]


def test_what_is_not_there_and_what_is_denied_are_told(bucket):
    with pytest.raises(InvalidInputError) as missing:
        ages(f"{bucket}/visits/2025.csv")
    assert missing.value.reason == "MissingFile"
    with pytest.raises(InvalidInputError) as empty:
        ages(f"{bucket}/visits/2025-*.csv")
    assert empty.value.reason == "MissingFile"
    with pytest.raises(StoreError) as denied:
        ages(f"{bucket}/denied.csv")
    assert denied.value.reason == "StoreAccessDenied"
