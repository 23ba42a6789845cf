"""Variables that an object's envFrom can and cannot set in a container."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from modelward_api import given_environment


def test_a_variable_of_an_object_arrives_under_its_own_name():
    environ = {"GIVEN_HTTPS_PROXY": "http://proxy:3128", "HOME": "/"}
    given_environment.adopt(environ)
    assert environ == {"HTTPS_PROXY": "http://proxy:3128", "HOME": "/"}


@pytest.mark.parametrize(
    "name",
    [
        *("AWS_ENDPOINT", "AZURE_ENDPOINT", "GOOGLE_BASE_URL", "IDENTITY_ENDPOINT", "MODELWARD_STORE"),
        *("PYTHONPATH", "LD_PRELOAD", "OPENSSL_CONF", "OPENSSL_MODULES", "GCONV_PATH", "PATH", "SSLKEYLOGFILE"),
        *("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "BENTOML_CONFIG"),
    ],
)
def test_a_reserved_variable_of_an_object_is_dropped(name):
    environ = {f"GIVEN_{name}": "elsewhere"}
    given_environment.adopt(environ)
    assert environ == {}


def test_what_is_set_already_stays():
    environ = {"GIVEN_NO_PROXY": "from the object", "NO_PROXY": "from env"}
    given_environment.adopt(environ)
    assert environ == {"NO_PROXY": "from env"}


@pytest.mark.parametrize("package", ["modelward_serving", "modelward_training"])
def test_each_container_adopts_before_it_does_anything_else(package):
    given = {"GIVEN_HTTPS_PROXY": "http://proxy:3128", "GIVEN_AWS_ENDPOINT": "http://elsewhere"}
    environ = {name: value for name, value in os.environ.items() if name not in ("HTTPS_PROXY", "AWS_ENDPOINT")}
    program = f"import os, {package}; print(os.environ['HTTPS_PROXY'], os.environ.get('AWS_ENDPOINT'))"
    told = subprocess.run(
        [sys.executable, "-c", program], env={**environ, **given}, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["http://proxy:3128", "None"]
