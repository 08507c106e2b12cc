"""Any classifier of River behind the common interface, with words and word pairs in front of it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import math
import pickle
import pkgutil
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import river
from river import base, feature_extraction, multiclass
from river.__version__ import __version__ as river_version

from online_model.memory import reachable
from online_model.snapshots import Arrays
from online_model.specification import RIVER, Specification, SpecificationError, checked_arguments, value_of
from online_model.structure import is_random_generator, structure_sha256

TEXT = "text"
"""The parameter that chooses the features."""

SEED = 1
"""Of classifiers that draw random numbers and are given no seed."""

_WORD = re.compile(r"(?u)\b\w[\w\-]+\b")  # River's own
_NOT_FOR_USE = frozenset({"api", "checks", "conftest", "datasets", "evaluate", "sketch", "stream", "test_estimators"})
_PICKLE = f"pickle-river-{river_version}"
_TRIAL = (("", "a"), *((f"one two {n} three{n}", "ab"[n % 2]) for n in range(20)))


def words(text: str) -> list[str]:
    """Return the words of a lower-cased text as River finds them: two letters, digits or hyphens at least.

    >>> words("a well-known text")
    ['well-known', 'text']
    """
    return _WORD.findall(text)


def words_and_pairs(text: str) -> list[str]:
    """Return words and pairs of words that follow each other, as text: some of River's trees compare features with each other.

    >>> words_and_pairs("good old days")
    ['good', 'old', 'days', 'good old', 'old days']
    """
    found = words(text)
    return found + [f"{first} {second}" for first, second in pairwise(found)]


# Accents stay: without its marks a word of many scripts is another one.
_BAG = functools.partial(feature_extraction.BagOfWords, strip_accents=False)
_TFIDF = functools.partial(feature_extraction.TFIDF, strip_accents=False)

FEATURES: Mapping[str, Callable[[], Any]] = {
    "pairs": functools.partial(_BAG, tokenizer=words_and_pairs),
    "words": functools.partial(_BAG, tokenizer=words),
    "tfidf-pairs": functools.partial(_TFIDF, tokenizer=words_and_pairs),
    "tfidf-words": functools.partial(_TFIDF, tokenizer=words),
}


class RiverModel:
    """A classifier of River: lower-cased words and pairs of them, counted or weighted by TF-IDF, then the classifier.

    One that knows two classes only is used once for each class, against the rest. Weights of labels reach classifiers that take them.

    Args:
        specification: what it was made from.
        features: from text to a dict of features.
        classifier: from there on.
        classes: those learned so far, in order of appearance.
    """

    has_pickle = True

    # River's types say that features are made from dicts and that no classifier takes a weight; neither is so.
    def __init__(self, specification: Specification, features: Any, classifier: Any, classes: list[str]) -> None:
        self.specification = str(specification)
        self.classes = list(classes)
        self._known = set(classes)
        self._features = features
        self._classifier = classifier
        self._gives_proba = True
        self._takes_weights = "w" in inspect.signature(getattr(classifier, "classifier", classifier).learn_one).parameters

    @classmethod
    def from_specification(cls, specification: Specification) -> RiverModel:
        """Return a new model.

        Raises:
            SpecificationError: naming all that is wrong; also if the classifier fails on a few short texts.
        """
        features, classifier = _made(specification)
        trial = cls(specification, features, classifier, [])
        try:
            for text, label in _TRIAL:
                trial.predict_proba_one(text)
                trial.learn_one(text, label)
            trial.arrays()
        except Exception as error:  # whatever a classifier that is not made for words does, the user must hear it
            reason = f"{type(error).__name__} {error}".strip()
            raise SpecificationError(str(specification), [f"it cannot learn the features of texts: {reason}"]) from error
        # A new one: what the trial has taught must not stay.
        return cls(specification, *_made(specification), [])

    def learn_one(self, x: str, y: str, w: float = 1.0) -> None:
        """Learn that text `x` has label `y`, with weight `w` if the classifier takes weights; what it cannot compute, it does not learn."""
        if y not in self._known:
            self._known.add(y)
            self.classes.append(y)
        self._features.learn_one(x)
        weight = {"w": w} if self._takes_weights else {}
        # Some divide by zero, naive Bayes as long as it has seen no word: one text must not stop a job for ever.
        with contextlib.suppress(ArithmeticError):
            self._classifier.learn_one(self._features.transform_one(x), y, **weight)

    def predict_proba_one(self, x: str) -> dict[str, float]:
        """Return the probability of each known class, in order of appearance.

        What a classifier says is scaled to the sum 1; if it says nothing that can be scaled, all classes are equally probable. One that
        knows no probabilities is taken at its word.
        """
        if not self.classes:
            return {}
        said = self._said(self._features.transform_one(x))
        proba = [float(said.get(name, 0.0)) for name in self.classes]
        total = sum(proba)
        if not (math.isfinite(total) and total > 0):
            return dict.fromkeys(self.classes, 1 / len(proba))
        return {name: p / total for name, p in zip(self.classes, proba, strict=True)}

    def explain(self, x: str, label: str | None = None) -> None:
        """Return None: what a feature adds to a score, River's classifiers have no common way to tell."""

    def _said(self, features: dict[str, float]) -> dict[str, float]:
        try:
            if not self._gives_proba:
                return {self._classifier.predict_one(features): 1.0}
            said: dict[str, float] = self._classifier.predict_proba_one(features)
        except ArithmeticError:
            return {}  # see learn_one
        except NotImplementedError:
            self._gives_proba = False
            return self._said(features)
        return said

    def predict_top(self, x: str, top: int) -> dict[str, float]:
        """Return the `top` most probable classes, most probable first, rounded to 6 decimals; of equal ones the first that appeared."""
        proba = self.predict_proba_one(x)
        best = sorted(proba, key=proba.__getitem__, reverse=True)[:top]
        return {name: math.floor(proba[name] * 1e6 + 0.5) / 1e6 for name in best}

    def arrays(self) -> Arrays:
        """Return the model as a pickle; the array's name says which River has written it."""
        return {_PICKLE: np.frombuffer(pickle.dumps((self._features, self._classifier), 5), np.uint8)}

    @classmethod
    def from_arrays(cls, specification: Specification, classes: list[str], arrays: Arrays, *, allow_pickle: bool) -> RiverModel:
        """Return the model whose `arrays` and `classes` these are.

        Raises:
            ValueError: if no pickle is allowed (nothing is loaded then), or it is not one of a model of this River.
        """
        if not allow_pickle:
            raise ValueError("it is a pickle, which could run any code, and MILLRACE_ALLOW_PICKLE is not set")
        if list(arrays) != [_PICKLE]:
            raise ValueError(f"it holds {', '.join(arrays) or 'nothing'}, not {_PICKLE}")
        try:
            features, classifier = pickle.loads(arrays[_PICKLE].tobytes())  # noqa: S301 - the operator has allowed it
        except Exception as error:  # a pickle may fail in any way
            raise ValueError(f"its pickle cannot be loaded: {type(error).__name__} {error}") from error
        return cls(specification, features, classifier, classes)

    def fingerprint(self) -> str:
        """Return a SHA-256 over what was learned."""
        return structure_sha256((self.specification, self.classes, self._features, self._classifier))


def _made(specification: Specification) -> tuple[Any, base.Classifier]:
    """Return features and classifier; SpecificationError names all that is wrong."""
    problems: list[str] = []
    given: dict[str, object] = {}
    chosen = next(iter(FEATURES))
    for name, text in specification.parameters.items():
        if name == TEXT:
            chosen = text
            continue
        try:
            given[name] = value_of(text, _instance)
        except ValueError as error:
            problems.extend(f"{name}: {line}" for line in str(error).splitlines())
    if chosen not in FEATURES:
        problems.append(f"{TEXT}={chosen!r}: choose from {', '.join(FEATURES)}")
    try:
        classifier = _classifier(specification.name.removeprefix(RIVER), given)
    except ValueError as error:
        problems.extend(str(error).splitlines())
    else:
        if not problems:
            return FEATURES[chosen](), classifier
    raise SpecificationError(str(specification), problems)


def _classifier(name: str, arguments: Mapping[str, object]) -> base.Classifier:
    found: base.Classifier = _instance(name, arguments, base.Classifier)
    try:
        multiple = bool(found._multiclass)  # noqa: SLF001 - River has no public name for it
    except AttributeError as error:  # an ensemble asks its members, which need not be classifiers
        raise ValueError(f"{name} is made of something that is no classifier: {error}") from error
    return found if multiple else multiclass.OneVsRestClassifier(found)


def _instance(name: str, arguments: Mapping[str, object], kind: type[Any] = object) -> Any:
    """Return the object of River with this name, e.g. `optim.Adam`, made with these arguments; ValueError says what is wrong."""
    found = _lookup(name, kind)
    signature = {
        parameter.name: ... if parameter.default is parameter.empty else parameter.default
        for parameter in inspect.signature(found).parameters.values()
        if parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
    }
    problems = checked_arguments(signature, arguments, found.__name__)
    if problems:
        raise ValueError("\n".join(problems))
    try:
        return _seeded(found(**arguments))
    except Exception as error:  # River's constructors check little, and raise what they like
        raise ValueError(f"{name} refuses its arguments: {type(error).__name__} {error}") from error


def _seeded(made: Any) -> Any:
    """Seed what has been given no seed, in the object and in its parts, so that the same labels make the same model."""
    for part in reachable(made):
        if isinstance(part, base.Base) and getattr(part, "seed", SEED) is None:
            vars(part)["seed"] = SEED
            for value in vars(part).values():
                if is_random_generator(value):
                    value.seed(SEED)
    return made


def _lookup(name: str, kind: type[Any]) -> type[Any]:
    module_name, _, class_name = name.rpartition(".")
    modules = sorted(module.name for module in pkgutil.iter_modules(river.__path__) if module.name not in _NOT_FOR_USE)
    top = module_name.partition(".")[0]
    if top not in modules:
        raise ValueError(f"River has no module {top!r}; expected MODULE.CLASS with one of {', '.join(modules)}")
    module: Any = importlib.import_module(f"river.{top}")
    for part in module_name.split(".")[1:]:
        module = getattr(module, part, None)
        if not (inspect.ismodule(module) and _is_for_use(module.__name__)):
            raise ValueError(f"River has no module {module_name!r}")
    choice = _classes(module, kind)
    if class_name not in choice:
        what = "classifier" if kind is base.Classifier else "class"
        raise ValueError(f"river.{module_name} has no {what} {class_name!r}; it has {', '.join(choice) or 'none'}")
    return choice[class_name]


def _is_for_use(module: str) -> bool:
    """Whether a module, found as a part of another one, is River's and has classes for use."""
    top, *parts = module.split(".")
    return top == "river" and not _NOT_FOR_USE.intersection(parts)


def _classes(module: Any, kind: type[Any]) -> dict[str, type[Any]]:
    public = {name: getattr(module, name, None) for name in getattr(module, "__all__", ())}
    return {
        name: found
        for name, found in public.items()
        if inspect.isclass(found) and issubclass(found, kind) and not inspect.isabstract(found)
    }
