"""The outcome of a small refresh that really happened: candidates are trained on rows, and the best is compared with a champion."""

from __future__ import annotations

import hashlib
import math
import resource
import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from batch_model.outcome import Candidate, Compared, Outcome, Stage, Variant
from batch_model.rows import LabelledText
from online_model.models import OwnModel
from online_model.prequential import Prequential
from schemas.log import Artifact, Metrics, Origin
from schemas.manifest import CaseResult, DataSpec, Gate, Manifest
from schemas.records import ModelVersion, Scores, Served
from schemas.refresh_settings import RefreshSettings

TOP = 500


def outcome_of(
    rows: Sequence[LabelledText], *, task: str = "default", cut_seq: int = 0, cases: Sequence[tuple[str, str]] = (), passes: int = 3
) -> Outcome:
    """Train on the first 60 % of the rows, choose on the next 10 %, compare on the rest."""
    began = time.perf_counter()
    train, validation, held_out = _split(rows)
    candidates = [_candidate(rate, passes, train, validation) for rate in (0.3, 0.6)]
    best = max(candidates, key=lambda item: item[0].validation["accuracy"])
    trained = time.perf_counter()
    challenger, champion = best[1], OwnModel(memory_mib=8)
    for row in train:
        champion.learn_one(row.text, row.label)
    for row in validation:
        champion.learn_one(row.text, row.label)
        challenger.learn_one(row.text, row.label)
    full = _variant(challenger, held_out)
    said = [CaseResult(text=t, required=r, predicted=next(iter(challenger.predict_top(t, 1)), None), passed=False) for t, r in cases]
    compared, gate = _compare(champion, challenger, held_out, [_judged(case) for case in said])
    data = hashlib.sha256("\n".join(f"{row.label} {row.text}" for row in train).encode()).hexdigest()
    weights = b"".join(array.tobytes() for array in challenger.arrays().values())
    line = f"r{cut_seq}-{hashlib.sha256(weights).hexdigest()[:8]}"
    manifest = Manifest(
        task=task,
        line=line,
        created_at=1_700_000_000_000,
        by="test",
        why="to see a report",
        origin=Origin(
            artifact=Artifact(
                address=f"{task}.releases/{line}.safetensors", sha256=hashlib.sha256(weights).hexdigest(), size_bytes=len(weights)
            ),
            cut_seq=cut_seq,
        ),
        specification=challenger.specification,
        parent="base",
        candidate=best[0].name,
        parameters=best[0].parameters,
        metrics={"train_seconds": trained - began},
        data=DataSpec(
            source="log" if cut_seq else "rows",
            first_seq=1 if cut_seq else 0,
            cut_seq=cut_seq,
            rows=len(train) + len(validation),
            classes=len(challenger.classes),
            fingerprint=data,
        ),
        gate=gate,
        versions={"millrace": "0.1.0"},
    )
    return Outcome(
        manifest=manifest,
        verdict="released" if gate.passed else "kept",
        reasons=gate.reasons,
        candidates=[msgspec.structs.replace(c, chosen=c is best[0]) for c, _ in candidates],
        compared=compared,
        class_rows=Counter(row.label for row in [*train, *validation]),
        variants=[full],
        stages=[Stage("train", trained - began), Stage("gate", time.perf_counter() - trained)],
        peak_memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        settings=RefreshSettings(),
        command="millrace refresh --task default",
    )


def _split(rows: Sequence[LabelledText]) -> tuple[Sequence[LabelledText], Sequence[LabelledText], Sequence[LabelledText]]:
    first, second = len(rows) * 6 // 10, len(rows) * 7 // 10
    return rows[:first], rows[first:second], rows[second:]


def _judged(case: CaseResult) -> CaseResult:
    return CaseResult(text=case.text, required=case.required, predicted=case.predicted, passed=case.required == case.predicted)


def _candidate(rate: float, passes: int, train: Sequence[LabelledText], validation: Sequence[LabelledText]) -> tuple[Candidate, OwnModel]:
    began = time.perf_counter()
    model = OwnModel(memory_mib=8, learning_rate=rate)
    epochs: list[Metrics] = []
    for _ in range(passes):
        for row in train:
            model.learn_one(row.text, row.label)
        before, after = _scores(model, train[:500]), _scores(model, validation)
        epochs.append({"train_loss": before.log_loss, "validation_loss": after.log_loss, "validation_accuracy": after.accuracy})
    last = _scores(model, validation)
    candidate = Candidate(
        name=f"softmax, rate {rate}",
        parameters={"learning_rate": rate, "passes": passes},
        epochs=epochs,
        validation={"accuracy": last.accuracy, "macro_f1": last.macro_f1, "log_loss": last.log_loss},
        seconds=time.perf_counter() - began,
    )
    return candidate, model


def _served(model: OwnModel, text: str) -> Served:
    proba = model.predict_top(text, TOP)
    return Served(label=next(iter(proba), None), proba=proba, classes=len(model.classes), model=ModelVersion(line="base", seq=0))


def _scores(model: OwnModel, rows: Sequence[LabelledText]) -> Scores:
    quality = Prequential(1)
    for row in rows:
        quality.add(row.label, _served(model, row.text), 1.0)
    return quality.overall()


def _variant(model: OwnModel, rows: Sequence[LabelledText]) -> Variant:
    began = time.perf_counter()
    for row in rows:
        model.predict_top(row.text, 10)
    rate = len(rows) / (time.perf_counter() - began)
    scores = _scores(model, rows)
    size = sum(array.nbytes for array in model.arrays().values())
    return Variant(
        name="full", size_bytes=size, predictions_per_second=rate, accuracy=scores.accuracy, log_loss=scores.log_loss, chosen=True
    )


def _compare(
    champion: OwnModel, challenger: OwnModel, rows: Sequence[LabelledText], cases: list[CaseResult]
) -> tuple[list[Compared], Gate]:
    compared, qualities = [], (Prequential(1), Prequential(1))
    for row in rows:
        one, other = _served(champion, row.text), _served(challenger, row.text)
        for quality, served in zip(qualities, (one, other), strict=True):
            quality.add(row.label, served, 1.0)
        compared.append(
            Compared(
                text=row.text,
                true=row.label,
                champion=one.label,
                champion_confidence=max(one.proba.values(), default=0.0),
                challenger=other.label,
                challenger_confidence=max(other.proba.values(), default=0.0),
            )
        )
        champion.learn_one(row.text, row.label)
        challenger.learn_one(row.text, row.label)
    losses = sum(c.champion == c.true != c.challenger for c in compared)
    wins = sum(c.challenger == c.true != c.champion for c in compared)
    p = sum(math.comb(wins + losses, k) for k in range(wins, wins + losses + 1)) / 2 ** (wins + losses)
    passed = wins > losses and p <= 0.05
    gate = Gate(
        passed=passed,
        reasons=[f"{wins} labels were won and {losses} lost, p = {p:.2g}."],
        champion_line="base",
        labels=len(rows),
        champion=qualities[0].overall(),
        challenger=qualities[1].overall(),
        only_champion=losses,
        only_challenger=wins,
        p_value=p,
        cases=cases,
    )
    return compared, gate
