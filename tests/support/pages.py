"""Pages of the documentation of which a part is written by a program, between two marks."""

from __future__ import annotations


def written_into(page: str, what: str, content: str) -> str:
    """The page with that content between ``<!-- what -->`` and ``<!-- end of what -->``."""
    begin, end = f"<!-- {what} -->", f"<!-- end of {what} -->"
    return f"{page.partition(begin)[0]}{begin}\n{content}\n{end}{page.partition(end)[2]}"
