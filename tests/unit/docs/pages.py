"""Markdown pages of the repository: their links, their anchors, and what is reachable from where."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
DOCS = REPOSITORY / "docs"
PAGES = tuple(
    sorted(
        path
        for path in (*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md"), *(REPOSITORY / ".github").rglob("*.md"))
        if path.is_file()
    )
)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def links(page: Path) -> list[str]:
    """The targets of a page's links, those to other sites left out."""
    found = _LINK.findall(_CODE.sub("", page.read_text()))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def resolved(page: Path, target: str) -> tuple[Path, str]:
    """The file that a link leads to, and the anchor in it."""
    path, _, anchor = target.partition("#")
    return (page.parent / path).resolve() if path else page, anchor


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return {_anchor(heading) for heading in _HEADING.findall(text)}


def _anchor(heading: str) -> str:
    shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
