"""Find what the pages of a built site would load from elsewhere: scripts, styles, fonts, pictures.

``python -m tools.docs.outside build/site`` exits with 1 if there is any. A link that a person
clicks on loads nothing and is none.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_LOADED = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src",),
    "audio": ("src",),
    "object": ("data",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
_OUTSIDE = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
_IN_STYLE = re.compile(
    r"""(?:@import\s+|url\(\s*)["']?\s*((?:https?:)?//[^"')\s]+)""", re.IGNORECASE
)
_LOADS_NOTHING = {"canonical", "prev", "next", "alternate"}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") in _LOADS_NOTHING:
            return
        for name in _LOADED.get(tag, ()):
            value = given.get(name)
            if value and _OUTSIDE.match(value):
                self.found.append(f"<{tag} {name}={value}>")
        if style := given.get("style"):
            self.found += _IN_STYLE.findall(style)


def loaded_from_elsewhere(site: Path) -> Iterator[str]:
    """Yield each thing that a page or a style sheet below ``site`` would load from elsewhere."""
    for path in sorted(site.rglob("*")):
        found: list[str] = []
        if path.suffix in (".html", ".svg"):
            text = path.read_text(encoding="utf-8")
            page = _Page()
            page.feed(text)
            found = page.found + [
                address
                for style in re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL)
                for address in _IN_STYLE.findall(style)
            ]
        elif path.suffix == ".css":
            found = _IN_STYLE.findall(path.read_text(encoding="utf-8"))
        for what in found:
            yield f"{path.relative_to(site)}: {what}"


def main() -> int:
    """Say what was found below the directory that is named."""
    found = list(loaded_from_elsewhere(Path(sys.argv[1])))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
