"""Features of texts: against their definition, and what does not change them."""

import functools
import math
import pickle
import random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from online_model import calibration, features, kernels, scoring
from online_model.samples import encoded
from online_model.softmax import HashedSoftmax
from online_model.tokens import MAX_POINTS
from tests import reference_features
from tests.reference_features import Feature

pytestmark = pytest.mark.unit

MODELS = {bits: HashedSoftmax(memory_mib=mib) for mib in (1, 16) for bits in [int(HashedSoftmax(memory_mib=mib).rows).bit_length() - 1]}
BITS = max(MODELS)

PIECES = [
    *"word Other two 9to5 007 ١٢٣ # @ ! ... ' ß İ Σ ﬁ ก ภาษา 日本 한국어 हिन्दी مُ שָ 𐐔 ᏣᎳᎩ 👍🏽 👨‍👩‍👧 🇹🇭 1️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿".split(),  # noqa: SIM905 - 31 short strings
    *" \n\u0301\u0345\u200b\u200c\u200d\u00ad\ufe0f\ud83d\U00020000\U000e0100\U0010ffff",
    " ",
    "  ",
    "w" * 26,  # as long as a word may be that is kept
    "w" * 27,
]
texts = st.text() | st.lists(st.sampled_from(PIECES) | st.characters(), max_size=40).map("".join)


def found(text: str, bits: int = BITS) -> list[Feature]:
    rows, values, kinds, starts, ends, _ = kernels.listed(MODELS[bits]._at, MODELS[bits]._work, encoded(text))
    return [Feature(*each) for each in zip(*(a.tolist() for a in (rows, values, kinds, starts, ends)), strict=True)]


def of_kinds(text: str, *kinds: int) -> list[int]:
    return sorted(feature.row for feature in found(text) if feature.kind in kinds)


@given(texts, st.sampled_from(sorted(MODELS)))
@example("a" * 9000, BITS)
@example("#a" * 5000, BITS)
@example("ΐx " * 4000, BITS)
@example(" ".join(map(chr, range(0x4E00, 0x4E00 + 5000))), BITS)
@example("ກຂ" * 5000, BITS)
def test_features_are_those_of_the_definition(text: str, bits: int) -> None:
    ours, expected = found(text, bits), reference_features.extract(text, bits)
    assert [f._replace(value=0.0) for f in ours] == [f._replace(value=0.0) for f in expected]
    assert [f.value for f in ours] == pytest.approx([f.value for f in expected], rel=1e-6)


@given(texts)
def test_each_group_has_its_norm(text: str) -> None:
    """Values of one kind of features, squared, weighted by how much there is of it, are the square of the group's weight."""
    listed = found(text)
    assert listed[0].value == features.WEIGHTS[0]
    for weight, kinds in zip(
        features.WEIGHTS[1:], [(features.TOKEN, features.SHAPE), (features.PAIR,), (features.CHARACTERS,)], strict=True
    ):
        norm = math.sqrt(math.fsum(f.value**2 for f in listed if f.kind in kinds))
        assert norm == pytest.approx(weight if any(f.kind in kinds for f in listed) else 0.0, rel=1e-5)


@given(texts, texts, texts)
def test_what_a_word_adds_does_not_depend_on_its_neighbours(before: str, word: str, after: str) -> None:
    kinds = (features.TOKEN, features.SHAPE, features.CHARACTERS)
    together = set(of_kinds(f"{before} {word} {after}", *kinds))
    assert together == set(of_kinds(before, *kinds)) | set(of_kinds(word, *kinds)) | set(of_kinds(after, *kinds))


@given(st.lists(st.sampled_from(["one", "zwei", "3rd", "สี่", "五", "😀", "#six", "!"]), max_size=12), st.randoms())
def test_the_order_of_words_changes_pairs_only(words: list[str], draw: random.Random) -> None:
    shuffled = words[:]
    draw.shuffle(shuffled)
    one, other = found(" ".join(words)), found(" ".join(shuffled))
    assert sorted((f.row, f.value) for f in one if f.kind != features.PAIR) == sorted(
        (f.row, f.value) for f in other if f.kind != features.PAIR
    )
    assert len(one) == len(other)


def test_order_matters_to_pairs() -> None:
    assert of_kinds("not good", features.PAIR) != of_kinds("good not", features.PAIR)


def test_words_with_digits_have_the_shape_in_common() -> None:
    assert of_kinds("a90s", features.SHAPE) == of_kinds("A75S", features.SHAPE) != of_kinds("b75s", features.SHAPE)
    assert of_kinds("٩٠", features.SHAPE) == of_kinds("75", features.SHAPE)
    assert of_kinds("words", features.SHAPE) == []


def test_scripts_without_spaces_have_shorter_n_grams() -> None:
    lengths = {f.end - f.start for f in found("ภาษาไทย") if f.kind == features.CHARACTERS}
    assert lengths == {2, 3, 4, 5}
    assert {f.end - f.start for f in found("language") if f.kind == features.CHARACTERS} == {3, 4, 5}


@given(st.integers(0, 2**64 - 1), st.integers(1, 31))
def test_halving_the_rows_folds_each_two_neighbours(state: int, bits: int) -> None:
    row = features.row_of(np.uint64(state), bits)
    assert 0 <= row < 2**bits
    assert features.row_of(np.uint64(state), bits - 1) == row >> 1


def test_named_features_fold_as_those_of_texts_do() -> None:
    named = {"age": 3.0, "colour": "red", 7: 1}
    small, large = (model._named(named)[0] for _, model in sorted(MODELS.items()))
    assert np.array_equal(small, large >> (BITS - min(MODELS)))


@pytest.mark.parametrize("text", reference_features.longest_texts())
def test_the_workspace_is_large_enough(text: str) -> None:
    listed = found(text)
    assert len(listed) < features.MOST / 1.5
    assert sum(f.kind == features.TOKEN for f in listed) < 2 * MAX_POINTS


@functools.cache
def taught() -> HashedSoftmax:
    model = HashedSoftmax(memory_mib=1)
    for i in range(200):
        model.learn_one(f"Text {i % 7} nummer{i * i % 31} is {'good' if i % 3 else 'bad'} #{i % 5} สวัสดี{i % 3}", f"c{i % 5}")
    return model


@given(texts)
def test_scores_are_the_sums_over_the_features(text: str) -> None:
    model = pickle.loads(pickle.dumps(taught()))  # noqa: S301 - our own bytes
    model._calibrator[:] = calibration.initial()  # a plain softmax
    rows, values = kernels.listed(model._at, model._work, encoded(text))[:2]
    logits = values.astype(np.float64) @ model._table[rows, : len(model.classes)].astype(np.float64)
    odds = np.exp(logits - logits.max())
    assert list(model.predict_proba_one(text).values()) == pytest.approx((odds / odds.sum()).tolist(), abs=1e-5)


@given(st.lists(texts, min_size=1, max_size=8), st.randoms())
def test_kept_words_change_no_bit(many: list[str], draw: random.Random) -> None:
    twin = pickle.loads(pickle.dumps(taught()))  # noqa: S301 - our own bytes
    expected = [taught().predict_proba_one(text) for text in many * 2]
    order = [*range(len(many))] * 2
    draw.shuffle(order)
    for place in order:
        assert twin.predict_proba_one(many[place]) == expected[place]
        twin._info[scoring.VERSION] += 1  # what was kept is stale
        assert twin.predict_proba_one(many[place]) == expected[place]
    assert [taught().predict_proba_one(text) for text in many] == expected[: len(many)]
