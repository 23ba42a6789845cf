"""Client authentication: a champion forwards its clients' tokens, so its challenger must accept all of them."""

from __future__ import annotations

import hashlib
import json

from modelward_api.resources.modelversion import Authentication


def fingerprint(authentication: Authentication | None) -> str:
    """Return a fingerprint of the tokens that pods accept; '' if they need none. It does not depend on where the keys are."""
    if authentication is None:
        return ""
    settings = [authentication.issuer, sorted(authentication.audiences), sorted(authentication.subjects)]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]


def refused_for(champion: Authentication | None, challenger: Authentication | None) -> str | None:
    """Return why the challenger would reject a client that the champion accepts; None if it accepts them all.

    A challenger that accepts more tokens, or needs none, rejects nobody. Where its keys come from does not matter.
    """
    if challenger is None:
        return None
    if champion is None:
        return "it requires tokens"
    if challenger.issuer != champion.issuer:
        return "its issuer differs"
    if not set(champion.audiences) <= set(challenger.audiences):
        return "it accepts fewer audiences"
    if challenger.subjects and not (champion.subjects and set(champion.subjects) <= set(challenger.subjects)):
        return "it accepts fewer subjects"
    return None
