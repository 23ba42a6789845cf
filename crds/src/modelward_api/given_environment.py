"""Variables that an object gives its pods through ``envFrom``, and those that it must not set.

Kubernetes sets a variable for every key of a ConfigMap or Secret, whatever its name. They arrive with a prefix, and the process
takes the prefix off once it knows that the name is not reserved.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping

PREFIX = "GIVEN_"
"""In front of every variable that comes from the ``envFrom`` of an object or of the chart's values."""
RESERVED = (
    r"^(MODELWARD_|OTEL_EXPORTER_OTLP_(TRACES_)?ENDPOINT$|OTEL_TRACES_|PYTHON|LD_|GCONV_PATH$|OPENSSL_|SSLKEYLOGFILE$|SSL_CERT_|"
    r"CURL_CA_BUNDLE$|JOB_COMPLETION_INDEX$|BENTOML_|PATH$|HOME$|TMPDIR$|AWS_|AZURE_|GOOGLE_|IDENTITY_|MSI_|SERVICE_ACCOUNT$)"
)
"""Variables that Modelward sets itself, those that load other code, and those that choose a store's endpoint or credentials."""


def adopt(environ: MutableMapping[str, str]) -> None:
    """Set what ``envFrom`` gives under its own name, unless that name is reserved or set already."""
    for given in [name for name in environ if name.startswith(PREFIX)]:
        value, name = environ.pop(given), given.removeprefix(PREFIX)
        if name and not re.search(RESERVED, name):
            environ.setdefault(name, value)
