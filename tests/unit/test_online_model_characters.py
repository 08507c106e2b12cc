"""The table of characters against Python's own Unicode database, all of it."""

import unicodedata

import numpy as np
import pytest

from online_model import characters, tokens
from online_model.characters import CLASS_SHIFT, DENSE, DIGIT, EMOJI, EXTEND, FOLDED, IGNORED, LETTER, LONG_FOLD, MARK, SPACE
from tests.reference_features import class_of

pytestmark = pytest.mark.unit

LETTERS = {"s": SPACE, "m": MARK, "#": MARK, "l": LETTER, "d": DENSE, "9": DIGIT, "x": EXTEND, "j": EXTEND, "-": IGNORED}
CLASSES = LETTERS | dict.fromkeys("etr", EMOJI)


def folded(point: int) -> str:
    entry = int(characters.table()[point])
    if not entry & LONG_FOLD:
        return chr(entry & FOLDED)
    place = entry & FOLDED
    expansions = characters.expansions()
    return "".join(map(chr, expansions[place + 1 : place + 1 + int(expansions[place])]))


def test_every_character_folds_as_python_folds_it() -> None:
    wrong = [point for point in range(characters.SIZE) if folded(point) != chr(point).casefold()]
    assert wrong == []


def test_nothing_beyond_the_table_has_a_case_or_separates() -> None:
    for point in range(characters.SIZE, 0x110000):
        assert chr(point).casefold() == chr(point)
        assert unicodedata.category(chr(point))[0] not in "ZPSN"  # no marks, no digits: letters and what joins them


def test_every_character_has_the_class_of_its_folded_form() -> None:
    classes = (characters.table() >> CLASS_SHIFT) & 7
    assert [p for p in range(characters.SIZE) if classes[p] != CLASSES[class_of(chr(p).casefold()[0])]] == []


def test_the_table_fits_its_type_and_its_section_of_the_workspace() -> None:
    table = characters.table()
    assert table.dtype == np.int32
    assert table.min() >= 0
    assert characters.expansions().size <= tokens.SECTIONS[1][0]
    assert max(len(chr(p).casefold()) for p in range(characters.SIZE)) == 3  # what a text may exceed MAX_POINTS by, plus one
