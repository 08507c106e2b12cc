import unicodedata
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_model import features

pytestmark = pytest.mark.unit

ascii_text = st.text(alphabet=st.characters(max_codepoint=0x7F), max_size=80)


def reference_counts(text: str) -> list[list[int]]:
    """The counts of the distinct words with marks, word pairs and n-grams of an ASCII text, by the definition."""
    words: list[str] = []
    marks: list[str] = []
    current = ""
    for character in text.casefold() + " ":
        if character.isalnum():
            current += character
            continue
        if current:
            words.append(current)
        current = ""
        if character > " ":
            marks.append(character)
    padded = [f"<{word}>" for word in words]
    grams = [word[i : i + n] for word in padded for n in (2, 3, 4, 5) for i in range(len(word) - n + 1)]
    return [sorted(Counter(group).values()) for group in ([*words, *marks], list(pairwise(words)), grams)]


@given(ascii_text)
def test_features_are_those_of_the_definition(text: str) -> None:
    counts = reference_counts(text)
    expected = sorted(float(np.float32(np.sqrt(n) / np.sqrt(sum(group)))) for group in counts for n in group)
    hashes, values = features.extract(text)
    assert len(set(hashes.tolist())) == len(hashes)
    assert sorted(values.tolist()) == pytest.approx(expected, rel=1e-6)


@given(st.text())
def test_any_text_has_finite_features_repeatably(text: str) -> None:
    hashes, values = features.extract(text)
    again, values_again = features.extract(text)
    assert hashes.tobytes() == again.tobytes()
    assert values.tobytes() == values_again.tobytes()
    assert np.isfinite(values).all()
    assert (values > 0).all()
    assert (values <= 1).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Good  Day", "good\tday"),
        ("Straße", "STRASSE"),
        ("a\u00a0b", "a b"),
        ("a\u3000b", "a b"),
        ("a\x00b", "a b"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ],
)
def test_case_and_kind_of_space_do_not_matter(one: str, other: str) -> None:
    assert features.extract(one)[0].tolist() == features.extract(other)[0].tolist()


@pytest.mark.parametrize("mark", ["!", "#", "…", "“", "。", "！", "«"])
def test_a_mark_separates_words_and_is_a_feature(mark: str) -> None:
    plain = set(features.extract("one two")[0].tolist())
    marked = set(features.extract(f"one{mark}two")[0].tolist())
    assert plain < marked
    assert len(marked - plain) == 1


@pytest.mark.parametrize("word", ["อร่อยมาก", "不错", "नमस्ते", "مرحبا", "👍🏽", "می‌خواهم", "naïve"])
def test_a_word_of_any_script_stays_whole(word: str) -> None:
    characters = len(unicodedata.normalize("NFC", word).casefold()) + 2
    hashes, values = features.extract(unicodedata.normalize("NFC", word))
    assert values[0] == 1  # the only word
    assert len(hashes) <= 1 + sum(characters - n + 1 for n in (2, 3, 4, 5))
    assert len(features.extract(f"{word} {word}x")[0]) > len(hashes)


def test_only_the_start_of_a_long_text_is_read() -> None:
    start = "word " * (features.MAX_CODE_POINTS // 5 + 1)
    assert features.extract(start + "other")[0].tolist() == features.extract(start)[0].tolist()


def test_lone_surrogates_are_features_like_others() -> None:
    assert features.extract("\ud83d")[0].size > 0
