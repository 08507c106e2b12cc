"""Holds the state of every label, and every entry that was learned, against what the topics say must be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from schemas.records import State
from stack.label_reference import LEARNED, Expected, Found, LabelRecord, Place, Rules, expected_states
from stack.report_metrics import Outcome
from stack.tallies import Labels, ModelLog, Predictions


class LabelVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with the labels of the run: nothing if all are 0.

    Attributes:
        differ: feedback records whose state, or whose entry in the log, is not what it must be.
        differences: what differs, in words, in the order of events.
        learned_twice: entries in the log beyond the first of their feedback record.
        learned_not_stated: feedback records in the log whose state does not say that they were learned, or that they have scored.
        stated_not_learned: feedback records whose state says that, and that are not in the log.
    """

    differ: int
    differences: list[str]
    learned_twice: int
    learned_not_stated: int
    stated_not_learned: int

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.differ or self.learned_twice or self.learned_not_stated or self.stated_not_learned)


def judge_labels(labels: Labels, log: ModelLog, predictions: Predictions, rules: Rules) -> LabelVerdict:
    """Judge every feedback record of the run that has a state; those without one are counted elsewhere."""
    learned: dict[Place, Outcome] = {}
    for outcome in log.outcomes:
        learned.setdefault(outcome.place, outcome)
    stated = {place for place in labels.records if (found := labels.found.get(place)) and _is_in_log(found)}
    differences = [
        f"label of event {record.event} at {record.place[0]}:{record.place[1]}: {'; '.join(problems)}"
        for record, expected in _expected(labels, predictions, rules)
        if (problems := list(_problems(record, expected, labels, learned.get(record.place), predictions)))
    ]
    return LabelVerdict(
        differ=len(differences),
        differences=differences,
        learned_twice=len(log.outcomes) - len(learned),
        learned_not_stated=len(learned.keys() - stated),
        stated_not_learned=len(stated - learned.keys()),
    )


def _is_in_log(found: Found) -> bool:
    """Whether a state says that there is an entry: of verdicts only the first on an event that no label has scored."""
    return found.state in LEARNED or (found.state is State.MARKED and found.seq is not None)


def _expected(labels: Labels, predictions: Predictions, rules: Rules) -> Iterator[tuple[LabelRecord, Expected]]:
    events: dict[int, list[LabelRecord]] = defaultdict(list)
    for place in sorted(labels.records):
        record = labels.records[place]
        events[record.event].append(record)
    served = predictions.served()
    for event, records in sorted(events.items()):
        expected = expected_states(records, predictions.predicted_at(event), labels.found, rules, served=served(event))
        yield from zip(records, expected, strict=True)


def _problems(record: LabelRecord, expected: Expected, labels: Labels, outcome: Outcome | None, predictions: Predictions) -> Iterator[str]:
    found = labels.found.get(record.place)
    if found is None:
        return
    if found.state not in expected.states:
        yield f"{found.state}, expected {' or '.join(sorted(expected.states))}"
    if record.place in labels.changed:
        yield f"has a second final state: {labels.changed[record.place]}"
    if found.state is State.MARKED and (found.seq is None) != (expected.standing is not None):
        yield "has scored, though a label had" if found.seq else "has not scored, though no label had"
    if outcome is not None and found.state in expected.states and _is_in_log(found):
        yield from _entry_problems(found, expected, outcome, predictions)


def _entry_problems(found: Found, expected: Expected, outcome: Outcome, predictions: Predictions) -> Iterator[str]:
    facts = {
        "seq": (outcome.seq, found.seq),
        "label": (outcome.label, expected.label),
        "corrected label": (outcome.corrects, expected.standing if found.state is State.CORRECTED else None),
        "verdict before it": (outcome.marked, expected.marked),
    }
    for name, (logged, right) in facts.items():
        if logged != right:
            yield f"its entry in the log has {name} {logged}, expected {right}"
    if predictions.predicted_at(outcome.event) and not _is_of_first(outcome, predictions):
        yield "its entry in the log does not hold the first prediction of its event"


def _is_of_first(outcome: Outcome, predictions: Predictions) -> bool:
    if outcome.label is None:
        return outcome.served == predictions.served()(outcome.event)
    return outcome.fingerprint == predictions.first_print[outcome.event]


def state_of(labels: Labels) -> dict[Place, State]:
    """Return the last state of each feedback record there is."""
    return {place: found.state for place, found in labels.found.items()}
