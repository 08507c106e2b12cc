"""Specifications of models: `softmax`, `softmax?learning_rate=0.3`, `river:naive_bayes.MultinomialNB?alpha=0.5&text=words`.

A name, and after a question mark parameters, joined by `&`. A value is a Python literal (`0.5`, `true`, `[1, 2]`), a word, or
an object of River with its arguments: `optimizer=optim.AdaGrad(lr=0.3)`. Nothing of it is ever executed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence

import msgspec

OWN = "softmax"
RIVER = "river:"

Make = Callable[[str, Mapping[str, object]], object]
"""Returns the object of River with this dotted name, made with these arguments; ValueError if there is none."""

_WORDS = {"true": True, "false": False, "none": None}


class SpecificationError(ValueError):
    """A specification is wrong; whoever wrote it must act. The message names each part that is wrong, a line each."""

    def __init__(self, specification: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join(f"model {specification!r}: {problem}" for problem in problems))
        self.problems = tuple(problems)


class Specification(msgspec.Struct, frozen=True):
    """A specification in parts: the name (`softmax` or `river:…`) and the parameters as they were written."""

    name: str
    parameters: dict[str, str]

    def __str__(self) -> str:
        """Return the specification with its parameters in order: equal ones are equal text."""
        joined = "&".join(f"{name}={value}" for name, value in sorted(self.parameters.items()))
        return f"{self.name}?{joined}" if joined else self.name


def parse(text: str) -> Specification:
    """Return the parts of a specification; whether such a model exists is not looked at.

    Raises:
        SpecificationError: if it does not have the form of one.

    >>> print(parse("river:naive_bayes.MultinomialNB?text=words&alpha=0.5"))
    river:naive_bayes.MultinomialNB?alpha=0.5&text=words
    >>> parse("softmax?rate")
    Traceback (most recent call last):
    ...
    online_model.specification.SpecificationError: model 'softmax?rate': 'rate' is no parameter: expected name=value
    """
    name, _, rest = text.strip().partition("?")
    problems, parameters = [], {}
    for part in rest.split("&") if rest else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key.isidentifier() and equals and value):
            problems.append(f"{part!r} is no parameter: expected name=value")
        elif key in parameters:
            problems.append(f"{key} is given twice")
        else:
            parameters[key] = value
    if problems:
        raise SpecificationError(text, problems)
    return Specification(name, parameters)


def value_of(text: str, make: Make | None = None) -> object:
    """Return the value that a parameter's text stands for; what is neither a literal nor an object of River is a word.

    Raises:
        ValueError: if it is none of these; the message says what is wrong.

    >>> value_of("0.5"), value_of("-3"), value_of("True"), value_of("none"), value_of("nb"), value_of("(1, [2])")
    (0.5, -3, True, None, 'nb', (1, [2]))
    >>> value_of("__import__('os')")
    Traceback (most recent call last):
    ...
    ValueError: "__import__('os')" is no value: expected a number, a word, a list or an object of River such as optim.Adam(lr=0.1)
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _no_value(text) from None
    return _evaluated(tree, make)


def _evaluated(node: ast.expr, make: Make | None) -> object:
    match node:
        case ast.Name(id=word):
            return _WORDS.get(word.lower(), word)
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.List(elts=elements):
            return [_evaluated(element, make) for element in elements]
        case ast.Tuple(elts=elements):
            return tuple(_evaluated(element, make) for element in elements)
        case ast.Dict(keys=keys, values=values) if all(keys):
            pairs = [(_evaluated(k, make), _evaluated(v, make)) for k, v in zip(keys, values, strict=True) if k is not None]
            if all(isinstance(key, str | int | float) for key, _ in pairs):
                return dict(pairs)
        case ast.Attribute() if make:
            return make(ast.unparse(node), {})
        case ast.Call(func=ast.Attribute() as function, args=[], keywords=keywords) if make and all(k.arg for k in keywords):
            return make(ast.unparse(function), {str(k.arg): _evaluated(k.value, make) for k in keywords})
    raise _no_value(ast.unparse(node))


def _no_value(text: str) -> ValueError:
    return ValueError(f"{text!r} is no value: expected a number, a word, a list or an object of River such as optim.Adam(lr=0.1)")


def checked_arguments(signature: Mapping[str, object], given: Mapping[str, object], what: str) -> list[str]:
    r"""Return what is wrong with the arguments: names that do not exist, and values of another type than the default's.

    Args:
        signature: names and defaults; `...` for a parameter without one.
        given: the arguments.
        what: whose arguments, for the messages.

    >>> print("\n".join(checked_arguments({"alpha": 1.0}, {"alpha": "x", "beta": 1}, "MultinomialNB")))
    alpha='x' is not a number, as alpha of MultinomialNB must be
    MultinomialNB has no parameter beta; it has alpha
    """
    problems = []
    for name, value in given.items():
        default = signature.get(name, ...)
        if name not in signature:
            problems.append(f"{what} has no parameter {name}; it has {', '.join(signature) or 'none'}")
        elif isinstance(default, bool) and not isinstance(value, bool):
            problems.append(f"{name}={value!r} is neither true nor false, as {name} of {what} must be")
        elif type(default) in {int, float} and (isinstance(value, bool) or not isinstance(value, int | float)):
            problems.append(f"{name}={value!r} is not a number, as {name} of {what} must be")
        elif type(default) is int and not isinstance(value, int):
            problems.append(f"{name}={value!r} is not a whole number, as {name} of {what} must be")
    problems += [f"{what} needs {name}" for name, default in signature.items() if default is ... and name not in given]
    return problems
