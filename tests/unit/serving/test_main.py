"""The serving container's command line."""

from __future__ import annotations

from dataclasses import fields

from modelward_serving import __main__, server


def test_every_option_of_the_server_has_a_flag(monkeypatch):
    given = {}
    monkeypatch.setattr(server, "run", lambda options: given.update(options=options) or 0)
    flags = {
        "--bundle": "/b",
        "--digest": "sha256:d",
        "--pod": "p",
        "--request-timeout": "3",
        "--host": "::1",
        "--port": "1",
        "--grpc-port": "2",
        "--control-port": "3",
        "--drain-seconds": "4",
        "--grpc-connection-seconds": "5",
        "--termination-log": "/t",
        "--control-keys": "/k",
        "--pod-uid": "u",
        "--tls-cert": "/c",
        "--tls-key": "/y",
        "--callers-issuer": "https://issuer",
        "--callers-audience": "a",
        "--callers-jwks": "/j",
    }
    words = [word for flag in flags.items() for word in flag]
    monkeypatch.setattr("sys.argv", ["modelward_serving", "serve", *words])
    assert __main__.main() == 0
    defaults = {field.name: field.default for field in fields(server.Options)}
    kept = [name for name, default in defaults.items() if getattr(given["options"], name) == default]
    assert kept == [], "an option that no flag sets"
