"""What mkdocs does beside its plugins: see ``hooks`` in mkdocs.yml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

MADE_ELSEWHERE = "performance.md"
"""``make bench`` writes it; a site without it has no such page, rather than an empty one."""


def on_config(config: Any) -> Any:
    """Leave the page of figures out of the navigation where it was not made."""
    if not (Path(config["docs_dir"]) / MADE_ELSEWHERE).exists():
        config["nav"] = _without(config["nav"], MADE_ELSEWHERE)
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name, rather than link, files of the repository that are no pages of the site."""
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"`\1`", markdown)


def _without(entries: list[Any], page: str) -> list[Any]:
    kept = []
    for entry in entries:
        ((title, target),) = entry.items()
        if isinstance(target, list):
            kept.append({title: _without(target, page)})
        elif target != page:
            kept.append(entry)
    return kept
