"""Authentication of the operator's requests on a serving pod's control port.

Each request carries ``Authorization: Bearer TOKEN``: a JSON Web Token, signed with Ed25519, that is valid for seconds, for this
request to this pod only. A copied token is useless for another pod or another request.
"""

from __future__ import annotations

import hashlib

ISSUER = "modelward-operator"
ALGORITHM = "EdDSA"
SECONDS = 30
"""Seconds for which a token is valid."""
SKEW = 30
"""Tolerated clock skew between nodes, in seconds."""
REQUIRED = ("iss", "aud", "iat", "exp", "jti")
"""Registered claims that each token has; ``aud`` is the pod's uid."""
ROUTED = "routed"
"""Subject of the token that a champion sends to a challenger's pods, to show that it has counted and routed the request. Its
audience is the challenger's digest; the lease carries it."""
ROUTED_SECONDS = 120
"""Seconds for which it is valid. The operator signs a new one after half of them."""


def bound(method: str, path: str, body: bytes) -> dict[str, str]:
    """Return the claims that bind a token to one request."""
    return {"method": method, "path": path, "sha256": hashlib.sha256(body).hexdigest()}
