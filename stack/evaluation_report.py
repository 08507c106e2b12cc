"""The report of `millrace evaluate`: what is written for each file and model."""

from __future__ import annotations

import msgspec


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """How predictions fared; see docs/evaluate.md."""

    accuracy: float
    macro_f1: float
    log_loss: float
    ece: float
    labels: int


class PrequentialScores(Scores, frozen=True, kw_only=True):
    """The same of predictions that were made before their label was learned.

    Attributes:
        ece_last_half: the ECE of the last half of them.
        ece_calibrated_p95: what that of a perfectly calibrated model with the same confidences stays below, 95 times in 100.
    """

    ece_last_half: float
    ece_calibrated_p95: float


class CurvePoint(msgspec.Struct, frozen=True):
    """The accuracy after so many labels: over all of them, and over the last `window` ones."""

    labels: int
    accuracy: float
    recent: float


class Alarm(msgspec.Struct, frozen=True):
    """An alarm of a drift detector, and after how many labels it came."""

    position: int
    message: str


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one model on one file.

    Attributes:
        file: as it was given.
        model: the specification, as it was given.
        specification: the same with every parameter.
        rows: rows of the file that were used.
        classes: classes that the model knew in the end.
        label_delay: after so many events the label of an event came.
        label_fraction: the share of the events whose label came.
        prequential: the pass over the file in its order (over the rows of the split `train`, if it has splits).
        test: the model as it was after that pass, on the rows of the split `test`; null without such rows.
        predict_per_second: texts a second, of the model alone, one text a call.
        learn_per_second: labels a second, of the model alone, one label a call, over the whole pass.
        memory_mib: of the model after the pass.
        window: labels in the window of the learning curve.
        curve: the learning curve.
        alarms: of drift detectors.
        confusions: the most frequent mistakes of the pass: true class, predicted class, how often.
    """

    file: str
    model: str
    specification: str
    rows: int
    classes: int
    label_delay: int
    label_fraction: float
    prequential: PrequentialScores
    test: Scores | None
    predict_per_second: float
    learn_per_second: float
    memory_mib: float
    window: int
    curve: list[CurvePoint]
    alarms: list[Alarm]
    confusions: list[tuple[str, str, int]]
