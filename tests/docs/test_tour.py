"""The tour of docs/tour.md goes, in a real terminal, as the page says."""

from __future__ import annotations

import html
import re
import shutil

import pytest

from tests.support.processes import needs_linux
from tools.docs import tour
from tools.docs.tour_steps import STEPS, Step

needs_a_terminal = pytest.mark.skipif(
    any(shutil.which(name) is None for name in tour.NEEDS),
    reason=f"needs the programs {' and '.join(tour.NEEDS)}",
)

KEY_LINES = (
    r"^Killed$",
    r"^session_20260125_170903_00000001  stale   1 min ago  yes        pid 4711 gone$",
    r"^session       session_20260125_170903_00000001 says that it is active, but its$",
    r"^going on at write$",
    r"now completed",
    r'^\+ data_buffer\.write: "what write found"$',
    r"^what-if$",
    r"^1 session would go, [\d.]+ KiB would be freed$",
    r"^1 session deleted, [\d.]+ KiB freed$",
    r"^1 session imported$",
    r"^forked from  session_20260125_170903_00000001 at$",
    r"^Killed$",
    r"^draft +started",
    r"1 of 2 kept; died within",
    r"^calling: send$",
    r"^24 of 300 sessions; 276 more: --more pages through, -n 0 lists all$",
    r"^session_\d+_\d+_[0-9a-f]{8}  (active, )?stale .* pid 4711 gone$",
    r"says that it is active, but its",
    r"^20 sessions would be marked failed, 8 alive$",
    r"^20 sessions marked failed, 8 alive$",
    r" died 3 times$",
    r" now failed ",
    r"^  damage    state\.json$",
    r"^\d\d:\d\d:\d\d  found ",
    r"^40 sessions would go, ",
)


def shown_on_the_page(step: Step, width: int, *, colored: bool) -> str:
    """Return what the page has of a step; in colour that is HTML."""
    page = tour.PAGE.read_text(encoding="utf-8")
    section = page.partition(f"## {step.heading}\n")[2].partition("\n## ")[0]
    if (width, colored) == (80, False):
        return section.partition("```text\n")[2].partition("```")[0]
    name = f"<summary>{width} columns{', in colour' if colored else ''}</summary>"
    return section.partition(name)[2].partition('<pre class="terminal">')[2].partition("</pre>")[0]


def as_text(page: str) -> str:
    text = html.unescape(re.sub(r"</?span[^>]*>", "", page))
    return re.sub(r" +$", "", text, flags=re.MULTILINE)


@needs_linux("libfaketime, and the words of its shell")
@needs_a_terminal
@pytest.mark.parametrize("colored", [False, True], ids=["plain", "colored"])
def test_each_step_of_the_tour_ends_and_reads_as_the_page_says(colored: bool) -> None:
    for shown, key_line in zip(tour.tour(80, colored=colored), KEY_LINES, strict=True):
        step = shown.step
        assert shown.code == step.code, shown.text
        assert re.search(key_line, shown.text, re.MULTILINE), shown.text
        there = as_text(shown_on_the_page(step, 80, colored=colored))
        assert there.startswith(f"$ {step.command}\n")
        assert re.search(key_line, there, re.MULTILINE), there
        assert all(len(line) <= 80 for line in shown.text.splitlines())
        assert any("\x1b[" in line for line in shown.lines) <= colored


def test_the_page_of_the_tour_has_each_step_at_each_width_with_colours_and_without() -> None:
    for step in STEPS:
        for width in tour.WIDTHS:
            for colored in (False, True):
                there = as_text(shown_on_the_page(step, width, colored=colored))
                assert there.startswith(f"$ {step.command}\n")
    listed = shown_on_the_page(STEPS[1], 80, colored=True)
    assert '<span class="bold c1">stale</span>' in listed


def test_nothing_of_a_run_is_on_the_page() -> None:
    page = tour.PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"\bpid (\d+)", page)) == {"4711"}
    named = set(re.findall(r"\d{8}_\d{6}_([0-9a-f]{8})", page))
    assert named <= {f"{number:08x}" for number in range(1, 400)}
    assert "/tmp" not in page


def test_colours_become_html_and_text_of_a_session_stays_text() -> None:
    lines = ["\x1b[1m\x1b[31mdead\x1b[0m & <b>", "a \x1b[2mdim\x1b[22m \x1b[32mgo\x1b[39m on"]
    assert tour.as_html(lines) == (
        '<span class="bold c1">dead</span> &amp; &lt;b&gt;\n'
        'a <span class="dim">dim</span> <span class="c2">go</span> on'
    )
