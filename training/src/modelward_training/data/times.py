"""Times in data: ISO 8601 texts as instants that can be ordered."""

from __future__ import annotations

import re
from datetime import UTC, datetime


def instant(text: str) -> datetime | None:
    """Parse an ISO 8601 date or time; a year or a month alone is its first moment. None: the text is not ISO 8601."""
    text = f"{text}-01" if re.fullmatch(r"[0-9]{4}(-[0-9]{2})?", text) else text
    text = f"{text}-01" if re.fullmatch(r"[0-9]{4}-[0-9]{2}", text) else text
    try:
        return datetime.fromisoformat(text.replace(" UTC", "Z"))
    except ValueError:
        return None


def in_utc(moment: datetime) -> datetime:
    """Return the moment in UTC without its offset, as numpy takes it; a moment without an offset stays as it is."""
    try:
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        return moment.replace(tzinfo=None)
