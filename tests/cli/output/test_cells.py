"""Text in cells: cut, and wrapped at words."""

from __future__ import annotations

import pytest

from sessionstore.cli.output.cells import cut, width_of, wrap


def test_wide_characters_take_two_cells() -> None:
    assert (width_of("ab"), width_of("送信"), width_of("🚀"), width_of("a…")) == (2, 4, 2, 2)


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 5, "short"),
        ("too long", 5, "too…"),
        ("too long", 6, "too l…"),
        ("東京オフィス", 6, "東京…"),
        ("東京オフィス", 5, "東京…"),
        ("anything", 1, "…"),
        ("anything", 0, ""),
    ],
)
def test_a_cut_text_ends_in_an_ellipsis_within_its_width(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown


def test_text_wraps_between_words() -> None:
    assert wrap("one two three four", 9) == ["one two", "three", "four"]
    assert wrap("one two three four", 9, first=4) == ["one", "two three", "four"]
    assert wrap("one two three four", 9, first=2) == ["", "one two", "three", "four"]
    assert wrap("", 9) == [""]


def test_only_a_word_wider_than_a_line_is_broken() -> None:
    assert wrap("a 0123456789 b", 4) == ["a", "0123", "4567", "89 b"]
    assert wrap("東京オフィス", 5) == ["東京", "オフ", "ィス"]
