from collections import Counter, defaultdict
from itertools import islice

import pytest

from stack.generator import CLASSES, LABEL_NOISE, NEW_CLASS, generate
from stack.generator_words import CLASS_WORDS, FILLER, LANGUAGES, PRODUCTS

pytestmark = pytest.mark.unit


def test_same_seed_same_stream() -> None:
    assert list(generate(500, seed=3)) == list(generate(500, seed=3))
    assert list(generate(500, seed=3)) != list(generate(500, seed=4))


def test_every_word_list_is_there() -> None:
    assert set(FILLER) == set(LANGUAGES)
    assert all(set(words) == set(LANGUAGES) and all(w.split() for w in words.values()) for words in CLASS_WORDS.values())
    assert len(PRODUCTS) == len(CLASSES)


def test_the_new_class_appears_with_the_drift() -> None:
    labels = [row.label for row in generate(4000, seed=1)]
    assert NEW_CLASS not in labels[:2000]
    assert labels[2000:].count(NEW_CLASS) > 150


def test_products_change_their_meaning_with_the_drift() -> None:
    rows = list(generate(20_000, seed=1))

    def meaning(part: slice) -> dict[str, str | None]:
        labels: defaultdict[str, Counter[str | None]] = defaultdict(Counter)
        for row in rows[part]:
            for product in PRODUCTS:
                if product in row.text:
                    labels[product][row.label] += 1
        return {product: count.most_common(1)[0][0] for product, count in labels.items()}

    before, after = meaning(slice(0, 10_000)), meaning(slice(10_000, None))
    assert before.keys() <= after.keys()
    assert all(before[product] != after[product] for product in before)


def test_no_drift_when_asked_for_none() -> None:
    rows = list(generate(300, drift_at=1.0))
    assert len(rows) == 300
    assert NEW_CLASS not in {row.label for row in rows}


def test_scripts_hashtags_and_languages_are_mixed() -> None:
    rows = list(generate(3000, seed=2))
    assert Counter(row.meta["language"] for row in rows).keys() == set(LANGUAGES)
    tagged = sum("#" in row.text for row in rows)
    assert 600 < tagged < 900
    scripts = {"thai": "\u0e01", "kana": "\u3042", "arabic": "\u0627", "latin": "a"}
    assert all(any(letter <= c < chr(ord(letter) + 90) for row in rows for c in row.text) for letter in scripts.values())


def test_a_counting_model_comes_near_the_noise() -> None:
    """Naive Bayes over words and character pairs, learning as it goes, is right nearly as often as the labels are."""
    rows = list(generate(8000, seed=5))
    seen: dict[str, Counter[str | None]] = defaultdict(Counter)
    totals: Counter[str | None] = Counter()
    right = 0
    for number, row in enumerate(rows):
        features = {*row.text.split(), *(a + b for a, b in zip(row.text, row.text[1:], strict=False))}
        if number >= 2000:
            right += row.label == _most_likely(features, seen, totals)
        for feature in features:
            seen[feature][row.label] += 1
        totals[row.label] += 1
    assert 0.85 < right / 6000 < 1 - LABEL_NOISE / 2


def _most_likely(features: set[str], seen: dict[str, Counter[str | None]], totals: Counter[str | None]) -> str | None:
    def odds(label: str | None) -> float:
        product = 1.0
        for feature in features:
            product *= 10 * (seen[feature][label] + 0.02) / (totals[label] + 1)
        return product

    return max(totals, key=odds)


def test_is_lazy() -> None:
    assert len(list(islice(generate(10**12), 5))) == 5
