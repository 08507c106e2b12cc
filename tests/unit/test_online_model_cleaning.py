import pytest

from online_model.cleaning import STEPS, cleaner
from online_model.models import build
from online_model.specification import SpecificationError
from online_model.tokens import MAX_POINTS

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("step", "text", "cleaned"),
    [
        ("nfkc", "ﬁne ① ｗｉｄｅ", "fine 1 wide"),
        ("html", "<p class='x'>a &lt; b</p><!-- no -->", " a < b  "),
        ("html", "1 < 2 & 3 > 2", "1 < 2 & 3 > 2"),
        ("urls", "see https://example.org/a?b=c now", "see  example.org  now"),
        ("joined", "aBigThing well-known snake_case", "a Big Thing well known snake case"),
        ("lengths", "a fine day " + "x" * 30, "fine day"),
    ],
)
def test_each_step(step: str, text: str, cleaned: str) -> None:
    assert STEPS[step](text) == cleaned


@pytest.mark.parametrize("text", ["see &#" + "9" * 5000 + ";", "<!--" * 20_000, "a" + "\u0315\u0300" * 100_000, "&#x" + "f" * 9000, ""])
def test_no_text_stops_a_model_that_cleans(text: str) -> None:
    model = build("softmax?clean=nfkc_html_urls_joined_lengths", memory_mib=1)
    for label in ("a", "b"):
        model.learn_one(text, label)
    assert sum(model.predict_proba_one(text).values()) == pytest.approx(1.0)


def test_what_is_read_of_a_long_text_is_cleaned() -> None:
    clean, plain = build("softmax?clean=urls", memory_mib=1), build("softmax", memory_mib=1)
    for model in (clean, plain):
        model.learn_one("word " * MAX_POINTS + "https://example.org/x", "a")
        model.learn_one("other", "b")
    assert clean.predict_proba_one("word") == plain.predict_proba_one("word")


def test_the_order_of_the_names_does_not_matter() -> None:
    one, other = cleaner("html_urls"), cleaner("urls_html")
    assert one is not None
    assert other is not None
    assert one("<a href=x>https://a.b/c</a>") == other("<a href=x>https://a.b/c</a>")


@pytest.mark.parametrize("value", ["stems", "1", "[1]", "true", "html_"])
def test_an_unknown_step_is_named(value: str) -> None:
    with pytest.raises(SpecificationError, match="there is no step"):
        build(f"softmax?clean={value}")
