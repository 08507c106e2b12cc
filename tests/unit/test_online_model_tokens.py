"""Words, marks and emoji of every script, found in UTF-8 by the compiled tokeniser."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from online_model import kernels
from online_model.features import CHARACTERS, PAIR, TOKEN
from online_model.samples import encoded
from online_model.softmax import HashedSoftmax
from online_model.tokens import MAX_POINTS

pytestmark = pytest.mark.unit

MODEL = HashedSoftmax(memory_mib=16)


def listed(text: str | bytes) -> list[tuple[int, int, str]]:
    """Return kind, row and text of each feature."""
    data = text if isinstance(text, bytes) else encoded(text)
    rows, _, kinds, starts, ends, points = kernels.listed(MODEL._at, MODEL._work, data)
    found = "".join(map(chr, points.tolist()))
    return [(k, r, found[max(s, 0) : e]) for k, r, s, e in zip(kinds.tolist(), rows.tolist(), starts.tolist(), ends.tolist(), strict=True)]


def tokens(text: str | bytes) -> list[str]:
    return [token for kind, _, token in listed(text) if kind == TOKEN]


def rows(text: str | bytes) -> list[int]:
    return [row for _, row, _ in listed(text)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("GROẞ", "gross"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("ὈΔΥΣΣΕΎΣ", "ὀδυσσεύς"),
        ("ᾼ", "ᾳ"),
        ("İstanbul", "i̇stanbul"),
        ("ПРИВЕТ", "привет"),
        ("ՀԱՅԵՐԵՆ և", "հայերեն եւ"),
        ("ᲡᲐᲥᲐᲠᲗᲕᲔᲚᲝ", "საქართველო"),
        ("ꭰꮃꭹ", "ᎠᎳᎩ"),  # Cherokee folds to capitals
        ("𐐔𐐇𐐝𐐀𐐡𐐇𐐓", "𐐼𐐯𐑅𐐨𐑉𐐯𐐻"),  # Deseret
        ("𞤀𞤁𞤂", "𞤢𞤣𞤤"),  # Adlam
        ("ﬁnd ﬄ", "find ffl"),
        ("ŉ ǰ ẖ", "ʼn ǰ ẖ"),
        ("ＡＢＣ", "ａｂｃ"),
        ("Ⅷ Ⓐ", "ⅷ ⓐ"),
        ("a\u00a0b\u3000c\u2028d\x00e", "a b c d e"),
    ],
)
def test_case_and_kind_of_space_do_not_matter(one: str, other: str) -> None:
    assert rows(one) == rows(other)


@given(st.text() | st.text(st.characters(categories=["Lu", "Lt", "Ll", "Mn", "Lm"])))
@example("\u0345")
@example("α\u0345 \u0345α 😀\u0345")
def test_a_text_and_its_case_folded_form_are_the_same(text: str) -> None:
    assert listed(text) == listed(text.casefold())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("don't stop-it", ["don", "'", "t", "stop", "-", "it"]),
        ("ภาษาไทยไม่มีช่องว่าง ดีมาก", ["ภาษาไทยไม่มีช่องว่าง", "ดีมาก"]),
        ("ພາສາລາວ ງາມ", ["ພາສາລາວ", "ງາມ"]),
        ("ខ្មែរ\u200bភាសា", ["ខ្មែរ", "ភាសា"]),  # zero width space
        ("今天天气很好。真的！", ["今天天气很好", "。", "真的", "！"]),
        ("日本語のテキスト、カタカナ", ["日本語のテキスト", "、", "カタカナ"]),
        ("ﾊﾝｶｸ 안녕하세요", ["ﾊﾝｶｸ", "안녕하세요"]),
        ("हिन्दी में लिखा है।", ["हिन्दी", "में", "लिखा", "है", "।"]),
        ("العَرَبِيَّةُ، نصٌّ", ["العَرَبِيَّةُ", "،", "نصٌّ"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),  # zero width non-joiner
        ("שָׁלוֹם עוֹלָם״", ["שָׁלוֹם", "עוֹלָם", "״"]),
        ("தமிழ் எழுத்து", ["தமிழ்", "எழுத்து"]),
        ("co\u00adoperate \ufeffa\u2060b \u202etext", ["cooperate", "ab", "text"]),  # soft hyphen, BOM, word joiner, direction
        ("\u0301a", ["a"]),  # a mark on nothing
        ("٣٤ १२", ["٣٤", "१२"]),
        ("a_b €5 x²", ["a", "_", "b", "€", "5", "x²"]),
    ],
)
def test_words_of_every_script(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("😡😡👍", ["😡", "👍"]),
        ("👍🏽👍🏿", ["👍🏽", "👍🏿"]),
        ("👨‍👩‍👧‍👦 👩🏽‍🚀", ["👨‍👩‍👧‍👦", "👩🏽‍🚀"]),
        ("👩‍❤️‍👨🏳️‍🌈", ["👩‍❤️‍👨", "🏳️‍🌈"]),
        ("🇹🇭🇩🇪 🇹", ["🇹🇭", "🇩🇪", "🇹"]),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿🏴󠁧󠁢󠁳󠁣󠁴󠁿", ["🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"]),  # England, Scotland
        ("1️⃣2️⃣", ["1️⃣2️⃣"]),
        ("☺️ok⌚", ["☺️", "ok", "⌚"]),
        ("👍\u200d", ["👍\u200d"]),
    ],
)
def test_emoji_with_what_belongs_to_them(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@pytest.mark.parametrize("word", ["naïve", "Ångström", "tiếng", "한국어", "किताब", "ᾠδή", "שָׁלוֹם", "が", "ÀÉÎ"])
def test_a_word_stays_one_word_in_any_normal_form(word: str, form: str) -> None:
    assert len(tokens(unicodedata.normalize(form, word))) == 1  # type: ignore[arg-type]  # a name of pytest's is a str, not the Literal


def test_a_word_behind_a_hash_or_an_at_is_a_token_with_it_besides() -> None:
    assert tokens("#Good @bob") == ["#", "good", "#good", "@", "bob", "@bob"]
    assert tokens("# good a#b") == ["#", "good", "a", "b", "#b"]
    assert {row for kind, row, _ in listed("#good") if kind == TOKEN} > {row for kind, row, _ in listed("good") if kind == TOKEN}


def test_words_that_follow_one_another_are_pairs_across_marks() -> None:
    assert [text for kind, _, text in listed("One, two #three 😀 four") if kind == PAIR] == ["one, two", "two #three", "three 😀 four"]


def test_only_the_start_of_a_long_text_is_read() -> None:
    start = "word " * (MAX_POINTS // 5 + 1)
    assert rows(start + "other") == rows(start)
    assert tokens("\u00ad" * MAX_POINTS + "word") == []  # what is left out counts, or a text could cost without limit
    assert tokens("ΐ" * MAX_POINTS) == ["ΐ".casefold() * (MAX_POINTS // 3 + 1)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a\xc3", ["a"]),
        (b"a\xf0\x9f\x98", ["a"]),
        (b"a \x80b", ["a", "b"]),  # U+0080 separates, as would a stray byte
        (b"\xff\xff\xff\xff\xff", ["\U0010ffff"]),
        (b"\xed\xa0\xbd", ["\ud83d"]),
    ],
)
def test_bytes_that_are_no_utf8_are_read_as_something(data: bytes, expected: list[str]) -> None:
    if data.startswith(b"\xff"):  # a code point that chr() refuses
        assert kernels.listed(MODEL._at, MODEL._work, data)[-1].tolist() == [0x1FFFFF & 0x1FFFFF]
    else:
        assert tokens(data) == expected


@given(st.text(), st.text())
def test_a_space_separates_whatever_stands_beside_it(one: str, other: str) -> None:
    together = dict.fromkeys(tokens(one) + tokens(other))
    assert tokens(f"{one} {other}") == list(together)


def test_a_text_leaves_nothing_behind_for_the_next() -> None:
    before = listed("some words 123 #x 😀")
    for text in ("other some words", "", "#a" * MAX_POINTS, "ก" * MAX_POINTS):
        listed(text)
        assert listed("some words 123 #x 😀") == before


def test_the_n_grams_of_a_word_cross_no_edge() -> None:
    grams = {text for kind, _, text in listed("abcd xy") if kind == CHARACTERS}
    assert all(" " not in gram.strip() for gram in grams)
    assert {"abcd", "bcd", "xy"} <= {gram.strip() for gram in grams}
