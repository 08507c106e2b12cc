"""Online classifiers of texts behind one interface, each from the raw text to the probabilities of all classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from river import compose, feature_extraction, linear_model

from online_model.softmax import HashedSoftmax

RIVER = "River BagOfWords | SoftmaxRegression"
WABBIT = "Vowpal Wabbit"
_WABBIT_FLAGS = "--loss_function logistic --ngram w2 -b 22 --probabilities --quiet"
_TO_WABBIT = str.maketrans({"|": " ", ":": " ", "\n": " ", "\r": " "})  # they have a meaning in its format


class Contender(NamedTuple):
    """A classifier that knows nothing yet."""

    name: str
    learn: Callable[[str, str], object]
    predict: Callable[[str], object]


def contenders(classes: list[str]) -> list[Contender]:
    """Return a new one of each; Vowpal Wabbit must know the classes beforehand, and is left out where it is not installed."""
    return [own(), river(), *vowpal_wabbit(classes)]


def own() -> Contender:
    """Return this project's model."""
    model = HashedSoftmax()
    return Contender("Millrace HashedSoftmax", model.learn_one, model.predict_proba_one)


def river() -> Contender:
    """Return River's softmax regression on the counts of the lower-cased words."""
    model: Any = compose.Pipeline(feature_extraction.BagOfWords(lowercase=True), linear_model.SoftmaxRegression())
    return Contender(RIVER, model.learn_one, model.predict_proba_one)


def vowpal_wabbit(classes: list[str]) -> list[Contender]:
    """Return Vowpal Wabbit's one against all on words and word pairs, if it is installed."""
    try:
        from vowpalwabbit import Workspace  # noqa: PLC0415 - only in the development lock
    except ImportError:
        print("Vowpal Wabbit is not installed: `pip install vowpalwabbit`, or `make setup` for the development lock")
        return []
    model: Any = Workspace(f"--oaa {len(classes)} {_WABBIT_FLAGS}")
    numbers = {name: number for number, name in enumerate(classes, start=1)}

    def learn(text: str, label: str) -> None:
        model.learn(f"{numbers[label]} |w {text.lower().translate(_TO_WABBIT)}")

    def predict(text: str) -> list[float]:
        found: list[float] = model.predict(f"|w {text.lower().translate(_TO_WABBIT)}")
        return found

    return [Contender(WABBIT, learn, predict)]
