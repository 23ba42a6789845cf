"""Whose tokens a version takes: a champion passes its callers' tokens on, so its challenger must take them all."""

from __future__ import annotations

import hashlib
import json

from modelward_api.resources.modelversion import Authentication


def fingerprint(authentication: Authentication | None) -> str:
    """What is the same for pods that take the same tokens; '' for those that want none. Where the keys are does not matter."""
    if authentication is None:
        return ""
    told = [authentication.issuer, sorted(authentication.audiences), sorted(authentication.subjects)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def refused_for(champion: Authentication | None, challenger: Authentication | None) -> str | None:
    """Why a caller whom the champion answers would be refused by the challenger; None if none would.

    A challenger that takes more tokens, or wants none, refuses nobody; nor does one with the keys from elsewhere.
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
