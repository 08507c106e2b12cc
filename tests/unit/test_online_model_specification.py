"""Specifications: what is wrong with one is named, all at once, and nothing of it is executed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_model.models import OwnModel, build, problems_of
from online_model.specification import Specification, SpecificationError, parse, value_of

pytestmark = pytest.mark.unit

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
values = st.from_regex(r"[a-z0-9.:,()\[\]=]{1,9}", fullmatch=True)


@given(st.sampled_from(["softmax", "river:tree.X"]), st.dictionaries(names, values, max_size=4))
def test_a_specification_survives_its_text(name: str, parameters: dict[str, str]) -> None:
    made = Specification(name, parameters)
    assert parse(str(made)) == made
    assert str(parse(str(made))) == str(made)


@given(st.text(max_size=60))
def test_whatever_is_written_is_a_specification_or_refused_in_words(text: str) -> None:
    for line in problems_of(text):
        assert line.startswith(f"model {text!r}: ")


@given(st.text(max_size=40))
def test_whatever_is_written_is_a_value_or_refused_in_words(text: str) -> None:
    try:
        value_of(text)
    except ValueError as error:
        assert "is no value" in str(error)  # noqa: PT017 - both outcomes are right


def test_the_own_engine_says_all_its_parameters_in_one_order() -> None:
    model = build("softmax?memory_mib=2&learning_rate=0.5")
    assert isinstance(model, OwnModel)
    assert (model.memory_mib, model.learning_rate) == (2, 0.5)
    assert model.specification == build(model.specification).specification
    assert "learning_rate=0.5" in model.specification
    assert "memory_mib=2" in model.specification


def test_the_setting_of_the_memory_counts_where_the_specification_does_not_say_it() -> None:
    assert "memory_mib=3" in build("softmax", memory_mib=3).specification
    assert "memory_mib=2" in build("softmax?memory_mib=2", memory_mib=3).specification


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["there is no model ''", "softmax", "river:MODULE.CLASS"]),
        ("svm?alpha=1", ["there is no model 'svm'"]),
        ("softmax?", []),
        ("softmax?rate", ["'rate' is no parameter: expected name=value"]),
        ("softmax?memory_mib=1&memory_mib=2", ["memory_mib is given twice"]),
        ("softmax?a=1&memory_mib=x", ["softmax has no parameter a; it has memory_mib", "memory_mib='x' is not a number"]),
        ("softmax?memory_mib=1.5", ["memory_mib=1.5 is not a whole number"]),
        ("softmax?memory_mib=true", ["memory_mib=True is not a number"]),
        ("softmax?memory_mib=0", ["memory_mib=0"]),
        ("river:", ["expected MODULE.CLASS", "naive_bayes"]),
        ("river:os.path", ["River has no module 'os'"]),
        ("river:naive_bayes", ["River has no module ''"]),
        ("river:naive_bayes.Multinomial", ["no classifier 'Multinomial'", "MultinomialNB"]),
        ("river:optim.SGD", ["no classifier 'SGD'"]),
        ("river:linear_model.math.sqrt", ["River has no module 'linear_model.math'"]),
        ("river:naive_bayes.MultinomialNB?beta=1", ["MultinomialNB has no parameter beta; it has alpha"]),
        ("river:naive_bayes.MultinomialNB?alpha=x&text=chars", ["alpha='x' is not a number", "text='chars': choose from pairs, words"]),
        ("river:linear_model.SoftmaxRegression?optimizer=optim.SDG(0.1)", ["optimizer: 'optim.SDG(0.1)' is no value"]),
        ("river:linear_model.SoftmaxRegression?optimizer=optim.SDG(lr=0.1)", ["optimizer: river.optim has no class 'SDG'", "AdaGrad"]),
        ("river:linear_model.SoftmaxRegression?optimizer=optim.SGD(rl=0.1)", ["optimizer: SGD has no parameter rl"]),
        ("river:ensemble.BaggingClassifier", ["BaggingClassifier needs model"]),
        ("river:ensemble.VotingClassifier?models=[1, 2]", ["is made of something that is no classifier: 'int' object"]),
        ("river:linear_model.SoftmaxRegression?l2=1&optimizer=3", ["it cannot learn the features of texts: AttributeError 'int'"]),
        ("softmax?memory_mib={[1]: 2}", ["memory_mib: '{[1]: 2}' is no value"]),
        ("softmax?learning_rate=1e-40", ["learning_rate=1e-40"]),
        ("river:linear_model.log_reg.LogisticRegression", ["river.linear_model.log_reg has no classifier"]),
        ("river:ensemble.VotingClassifier?models=api.datasets.SMSSpam()", ["River has no module 'api'"]),
        ("river:ensemble.VotingClassifier?models=bandit.datasets.NewsArticles()", ["River has no module 'bandit.datasets'"]),
        ("river:naive_bayes.MultinomialNB?alpha=0.0", ["it cannot learn the features of texts: ValueError"]),
        ("river:ensemble.VotingClassifier?models=[1]", ["refuses its arguments: ValueError At least 2 models"]),
    ],
)
def test_each_part_that_is_wrong_is_named_with_what_is_possible(text: str, parts: list[str]) -> None:
    found = "\n".join(problems_of(text))
    assert all(part in found for part in parts), found
    assert bool(found) is bool(parts)
    assert all(line.startswith(f"model {text!r}: ") for line in problems_of(text))


@pytest.mark.parametrize(
    "value",
    [
        "__import__('os').system('x')",
        "optim.SGD.__init__",
        "().__class__",
        "lambda: 1",
        "[x for x in y]",
        "f'{1}'",
        "optim.SGD(**{})",
        "1+1",
        "{**a}",
    ],
)
def test_nothing_of_a_specification_is_executed(value: str) -> None:
    with pytest.raises(SpecificationError):
        build(f"river:linear_model.SoftmaxRegression?optimizer={value}")


def test_other_seeds_and_values_are_taken_as_written() -> None:
    assert value_of("{'a': [1, -2.5], 'b': (true, none)}") == {"a": [1, -2.5], "b": (True, None)}
