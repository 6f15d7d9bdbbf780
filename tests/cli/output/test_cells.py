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
    assert wrap("one two three four", 9, widest=9) == ["one two", "three", "four"]
    assert wrap("one two three four", 9, widest=9, first=4) == ["one", "two three", "four"]
    assert wrap("one two three four", 9, widest=9, first=2) == ["", "one two", "three", "four"]
    assert wrap("", 9, widest=9) == [""]


def test_a_wide_word_stands_alone_and_only_one_wider_than_the_widest_line_is_broken() -> None:
    assert wrap("a 0123456789 b", 4, widest=10) == ["a", "0123456789", "b"]
    assert wrap("0123456789 b", 4, widest=10) == ["", "0123456789", "b"]
    assert wrap("a 0123456789 b", 4, widest=4) == ["a", "0123", "4567", "89 b"]
    assert wrap("東京オフィス", 5, widest=5) == ["東京", "オフ", "ィス"]
