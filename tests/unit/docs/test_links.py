"""No link of the documentation is broken, and every page is found from its index."""

from __future__ import annotations

import pytest

from tests.unit.docs.pages import DOCS, PAGES, REPOSITORY, anchors, links, resolved


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_relative_link_leads_to_a_file_and_a_heading_that_exist(page):
    broken = []
    for target in links(page):
        path, anchor = resolved(page, target)
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert not broken, f"{page.relative_to(REPOSITORY)} links to what does not exist: {broken}"


def test_every_page_is_reachable_from_the_index():
    seen, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.is_relative_to(DOCS):
            continue
        seen.add(page)
        waiting += [resolved(page, target)[0] for target in links(page)]
    lost = sorted(str(page.relative_to(DOCS)) for page in set(DOCS.rglob("*.md")) - seen)
    assert not lost, f"no page that can be reached from docs/index.md links to {lost}"


def test_a_broken_link_and_a_missing_heading_are_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A `title`: *of* it\n\n[gone](gone.md) [web](https://example.com) `[code](no.md)` [here](#nowhere)\n"
    )
    assert links(page) == ["gone.md", "#nowhere"]
    assert anchors(page) == {"a-title-of-it"}
