"""Find what is wrong with the page that a package index makes of README.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

_ABSOLUTE = re.compile(r"(https?://|mailto:)", re.IGNORECASE)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.targets: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.targets |= {f"#{value}" for name, value in attrs if name == "id"}


def faults_of_page(html: str, source: str) -> Iterator[str]:
    """Yield a sentence for each thing that ``html`` lacks of its Markdown ``source``.

    An index shows the page alone: a link to a file of the repository leads nowhere.
    """
    page = _Page()
    page.feed(html)
    for link in page.links:
        if not _ABSOLUTE.match(link) and link not in page.targets:
            yield f"the link {link} leads nowhere on a package index"
    fence = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    prose = fence.sub("", source)
    for what, tags, expected in (
        ("headings", ("h1", "h2", "h3"), re.findall(r"^#{1,3} ", prose, re.MULTILINE)),
        ("tables", ("table",), re.findall(r"^\|(?:-+\|)+$", prose, re.MULTILINE)),
        ("blocks of code", ("pre",), fence.findall(source)),
    ):
        found = sum(tag in tags for tag in page.tags)
        if found != len(expected):
            yield f"it shows {found} {what}, and README.md has {len(expected)}"
