"""Every model that can serve: the interface that they share, and how one is made from its specification."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol, cast

from online_model import snapshots
from online_model.explanation import Explanation
from online_model.snapshots import Arrays
from online_model.softmax import HashedSoftmax
from online_model.specification import OWN, RIVER, Specification, SpecificationError, checked_arguments, parse, value_of

if TYPE_CHECKING:
    from online_model.river_model import RiverModel


class TextModel(Protocol):
    """What a replica needs of a classifier of texts. The same labels in the same order make the same model.

    Attributes:
        classes: the classes in order of appearance.
        specification: what makes such a model, untaught: with every parameter, and in one spelling.
        has_pickle: whether `arrays` holds a pickle, which runs code when it is loaded.
    """

    has_pickle: bool

    @property
    def classes(self) -> list[str]: ...  # noqa: D102 - see the class
    @property
    def specification(self) -> str: ...  # noqa: D102 - see the class

    def learn_one(self, x: str, y: str, w: float = 1.0) -> None:
        """Learn that text `x` has label `y`, with weight `w` on its loss."""

    def predict_proba_one(self, x: str) -> dict[str, float]:
        """Return the probability of each class, in order of appearance; empty if none is known."""

    def predict_top(self, x: str, top: int) -> dict[str, float]:
        """Return the `top` most probable classes, most probable first, probabilities rounded to 6 decimals."""

    def explain(self, x: str, label: str | None = None) -> Explanation | None:
        """Return what each feature of `x` adds to the logit of `label`, or of the most probable class; None if it cannot be told.

        Raises:
            KeyError: if the model does not know the label.
        """

    def arrays(self) -> Arrays:
        """Return what was learned; with specification and classes it is the model."""

    def fingerprint(self) -> str:
        """Return a SHA-256 over what was learned."""


class OwnModel(HashedSoftmax):
    """The own engine behind the common interface."""

    has_pickle = False

    @property
    def specification(self) -> str:
        """What makes such a model, untaught."""
        return str(Specification(OWN, {name: str(getattr(self, name)) for name in _signature()}))

    def fingerprint(self) -> str:
        """Return a SHA-256 over classes and arrays: equal if and only if the models are, byte for byte."""
        shape = f"{self.classes!r} {self.rows} {self.capacity}"
        return snapshots.checksum(shape.encode(errors="surrogatepass"), self.arrays())


def build(specification: str, *, memory_mib: int = 32) -> TextModel:
    """Return a new model.

    Args:
        specification: see `online_model.specification`.
        memory_mib: memory of the own engine where the specification does not say it.

    Raises:
        SpecificationError: naming all that is wrong with the specification.
    """
    parts = parse(specification)
    if parts.name.startswith(RIVER):
        return _river().from_specification(parts)
    _must_be_own(parts)
    try:
        return OwnModel(**{"memory_mib": memory_mib, **_own_parameters(parts)})
    except ValueError as error:
        raise SpecificationError(specification, str(error).splitlines()) from error


def restore(specification: str, classes: list[str], arrays: Arrays, *, allow_pickle: bool = False) -> TextModel:
    """Return the model that has this specification, these classes and arrays.

    Args:
        allow_pickle: whether a pickle may be loaded. It runs whatever code it holds: only for bytes from those who may run code here.

    Raises:
        ValueError: if they do not fit each other, or hold a pickle and none is allowed.
    """
    parts = parse(specification)
    if parts.name.startswith(RIVER):
        return _river().from_arrays(parts, classes, arrays, allow_pickle=allow_pickle)
    _must_be_own(parts)
    return cast("OwnModel", OwnModel.from_arrays(arrays, classes, **_own_parameters(parts)))  # it says HashedSoftmax


def _must_be_own(parts: Specification) -> None:
    if parts.name != OWN:
        reason = f"there is no model {parts.name!r}; there are {OWN} and {RIVER}MODULE.CLASS, any classifier of River"
        raise SpecificationError(str(parts), [reason])


def _river() -> type[RiverModel]:
    """Import River's classifiers: 0.6 s and 70 MiB that the own engine does without."""
    from online_model.river_model import RiverModel  # noqa: PLC0415 - not before it is needed

    return RiverModel


def problems_of(specification: str) -> list[str]:
    """Return all that is wrong with a specification, each as a line; building a model of River takes a second or two."""
    try:
        build(specification, memory_mib=1)
    except SpecificationError as error:
        return [f"model {specification!r}: {problem}" for problem in error.problems]
    return []


def _own_parameters(parts: Specification) -> dict[str, Any]:
    given: dict[str, Any] = {}
    problems: list[str] = []
    for name, text in parts.parameters.items():
        try:
            given[name] = value_of(text)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    problems += checked_arguments(_signature(), given, OWN)
    if problems:
        raise SpecificationError(str(parts), problems)
    return given


def _signature() -> dict[str, object]:
    return {name: parameter.default for name, parameter in inspect.signature(HashedSoftmax).parameters.items()}
