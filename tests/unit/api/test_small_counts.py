"""What messages tell of small numbers of rows."""

from __future__ import annotations

import pytest

from modelward_api import small_counts


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 of 80 rows"),
        (1, "fewer than 11 of 80 rows"),
        (10, "fewer than 11 of 80 rows"),
        (11, "11 of 80 rows"),
        (69, "69 of 80 rows"),
        (70, "at least 70 of 80 rows"),
        (79, "at least 70 of 80 rows"),
        (80, "80 of 80 rows"),
    ],
)
def test_neither_a_small_part_nor_a_small_rest_is_told(count: int, told: str) -> None:
    assert small_counts.of_rows(count, 80) == told


@pytest.mark.parametrize("whole", range(3, 40))
def test_a_message_leaves_each_small_part_as_one_of_several(whole: int) -> None:
    """Who knows the message and the whole cannot tell which of the small parts or rests it is."""
    by_message: dict[str, set[int]] = {}
    for count in range(1, whole):
        by_message.setdefault(small_counts.of_rows(count, whole), set()).add(count)
    small = {count for count in range(1, whole) if not small_counts.is_shown(count, whole)}
    for told, counts in by_message.items():
        if counts & small:
            assert len(counts) >= 2, f"{told!r} means {counts} of {whole}"


def test_a_small_whole_is_not_told_either() -> None:
    assert small_counts.of_rows(3, 8) == small_counts.of_rows(7, 9) == "some of fewer than 11 rows"
    assert small_counts.of_rows(0, 8) == "none of the rows"


def test_a_number_of_lines_without_a_whole_is_told_from_11() -> None:
    assert small_counts.of(3, "lines") == "fewer than 11 lines"
    assert small_counts.of(11, "lines") == "11 lines"
