"""A refresh of one task from the model log, stage by stage: it may be killed at any point, and changes nothing before its last ones.

log → champion → training → fold → gate → release → command → answer → report
"""

from __future__ import annotations

import hashlib
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from batch_model.cases import Case
from batch_model.challenger import Asked, gate_metrics, line_of, manifest_of
from batch_model.champions import Champions
from batch_model.data import DataError, Dataset, Window, fingerprint
from batch_model.fit import Fitted, fit
from batch_model.flags import SHUFFLE
from batch_model.folder import Plan, RefreshFolder
from batch_model.gate import Comparison, pass_gate
from batch_model.log_data import LogLabels, choose_cut, from_log, given_again, read_labels
from batch_model.memory import peak_mib
from batch_model.offline import told
from batch_model.outcome import Outcome, Variant, Verdict
from batch_model.publishing import publish
from batch_model.rows import LabelledText
from batch_model.stages import Stages
from batch_model.storing import artifact_bytes, as_stored, fit_options, variant_of
from batch_model.tried import candidates_of
from batch_model.variant_table import variant_table
from online_model.models import OwnModel, TextModel
from schemas.log import AnyChange, Command, RefusalEntry
from schemas.manifest import Gate, Manifest
from schemas.refresh_settings import RefreshSettings
from schemas.settings import Settings
from schemas.topics import Topic
from store.commands import await_answer, send
from store.releases import ReleaseFolder

FOLD_TOLERANCE = 1e-4
"""The largest difference of logits between the network and the table that is released."""


class RefreshError(Exception):
    """The refresh cannot go on, and has changed nothing; the message says why."""


class _Made(msgspec.Struct, frozen=True):
    """The champion at the training cut, what was trained, the line that it would begin, its artifact, and other ways to store it."""

    base: TextModel
    fitted: Fitted
    line: str
    artifact: bytes
    variants: list[Variant]


class Refresh:
    """One refresh of one task.

    Args:
        settings: of the installation.
        refresh: of the refresh.
        task: which task.
        asked: by whom and for what.
        cases: that the challenger must meet.
        stages: where progress is told.
    """

    def __init__(
        self,
        settings: Settings,
        refresh: RefreshSettings,
        task: str,
        asked: Asked,
        cases: Sequence[Case],
        folder: RefreshFolder,
        stages: Stages,
    ) -> None:
        self.settings, self.refresh, self.task, self.asked, self.cases = settings, refresh, task, asked, cases
        self.folder, self.stages = folder, stages
        self.champions: Champions

    def run(self) -> Outcome:
        """Do it, and return what came of it.

        Raises:
            DataError: if there are too few labels, or the champion cannot be rebuilt.
            RefreshError: if the network does not fold.
            KafkaUnavailable, ModelUnavailable: if the log cannot be read.
            NoAnswer: if the learner says nothing to the command.
        """
        with self.stages.stage("log", f"reading the labels of {self.settings.topic_prefix}{Topic.MODEL_LOG}"):
            self.champions = Champions(self.settings, self.task)
            champion = self.champions.line.line
            labels, data, plan = self._data(champion)
        after = labels.after(plan.cut_seq)
        made = self._trained(data, plan, [one.row for one in after])
        with self.stages.stage("gate", f"{champion} against {made.line} on {len(after):,} labels"):
            gate, comparison = pass_gate(
                made.base, champion, made.fitted.model, after, self.cases, self.refresh,
                progress=lambda n: self.stages.detail(f"{n:,} labels"),
            )  # fmt: skip
        manifest = manifest_of(
            self.task, made.line, self.asked, made.fitted, data.spec, parent=champion, gate=gate, refresh=self.refresh
        )  # fmt: skip
        goes = (gate.passed or self.asked.force) and not self.asked.dry_run
        if goes:
            with self.stages.stage("release", f"storing {made.line}"):
                manifest = ReleaseFolder(self.champions.artifacts).put(manifest, made.artifact)
        answer = self._sent(manifest, gate, plan) if goes else None
        outcome = self._outcome(manifest, gate, answer, data, made.fitted, comparison, made.variants)
        with self.stages.stage("report", "writing the report and the registry"):
            publish(outcome, self.folder, self.champions, model=made.artifact if goes else None)
        self.folder.finish()
        return outcome

    def _trained(self, data: Dataset, plan: Plan, unseen: Sequence[LabelledText]) -> _Made:
        """Return the champion at the training cut, and the challenger, which folds."""
        with self.stages.stage("champion", f"rebuilding {plan.champion} as of entry {plan.cut_seq}"):
            base = self.champions.at(plan.cut_seq)
        with self.stages.stage("training", f"on {data.spec.rows:,} labels of {data.spec.classes} classes to entry {plan.cut_seq}"):
            own = base if isinstance(base, OwnModel) else None
            options = fit_options(self.refresh, base.specification, self.folder.training)
            fitted = fit(
                data.rows, own, lambda row: self.champions.that_served(data.seqs[row] - 1), options,
                lambda doing: self.stages.detail(told(doing)),
            )  # fmt: skip
        with self.stages.stage("fold", "comparing the network with the table that would serve"):
            _must_fold(fitted)
        variant = variant_of(self.refresh)
        variants = variant_table(fitted.model, self.refresh, unseen)
        fitted = as_stored(fitted, variant)
        line = line_of(plan.cut_seq, fitted.model)
        artifact = artifact_bytes(
            self.settings, self.task, fitted.model, line,
            cut_seq=plan.cut_seq, updated_at=data.rows[-1].time, weights=variant.weights,
        )  # fmt: skip
        return _Made(base, fitted, line, artifact, variants)

    def _data(self, champion: str) -> tuple[LogLabels, Dataset, Plan]:
        """Return the labels, what of them is trained on, and the plan: that of a refresh that was killed, if it still holds."""
        labels = read_labels(self.champions.reader, self.task, progress=lambda n: self.stages.detail(f"{n:,} labels"))
        window = Window(labels=self.refresh.window_labels, ms=self.refresh.window_s * 1000)
        # A digest: the address of the registry may hold a password.
        said = hashlib.sha256(
            msgspec.json.encode([self.refresh, self.settings.model, self.settings.model_memory_mib, self.asked.drill == SHUFFLE])
        ).hexdigest()
        before = self.folder.unfinished()
        if before is not None and (before.champion, before.settings) == (champion, said):
            data = given_again(labels, before.cut_seq, before.fingerprint, window)
            if data is not None:
                self.stages.detail(f"going on with the refresh to entry {before.cut_seq} that did not come to its end")
                return labels, self._drilled(data), before
        cut = self._cut(labels)
        data = from_log(labels, cut, window)
        plan = Plan(
            cut_seq=cut,
            champion=champion,
            fingerprint=data.spec.fingerprint,
            settings=said,
            command_id=f"refresh-{uuid.uuid4().hex}",
            created_at_s=time.time(),
        )
        self.folder.begin(plan)
        return labels, self._drilled(data), plan

    def _drilled(self, data: Dataset) -> Dataset:
        """Return the data, in a drill with labels that are exchanged; the fingerprint is of what is trained on."""
        if self.asked.drill != SHUFFLE:
            return data
        rows = shuffled(data.rows, self.refresh.seed)
        return Dataset(rows, data.seqs, msgspec.structs.replace(data.spec, fingerprint=fingerprint(rows)))

    def _cut(self, labels: LogLabels) -> int:
        """Return the training cut: not before that of the champion, which has learned the labels to there in its own training."""
        cut, began = choose_cut(labels, self.refresh), self.champions.line.origin.cut_seq
        if cut >= began:
            return cut
        left, least = len(labels.after(began)), self.refresh.gate_least_labels
        if left < least:
            raise DataError(
                f"the champion {self.champions.line.line} was trained on the labels to entry {began}; only {left} came after it, "
                f"and {least} are needed to compare it with a challenger (MILLRACE_REFRESH_GATE_LEAST_LABELS)"
            )
        return began

    def _sent(self, manifest: Manifest, gate: Gate, plan: Plan) -> AnyChange:
        """Send the command and return the learner's answer; a command that was sent before and answered is not sent again."""
        self.champions.history.update(self.champions.reader)
        if (known := self._first_answer(plan, manifest.line)) is not None:
            return known
        command = self._command(manifest, gate, plan)
        with self.stages.stage("command", f"asking the learner to {command.do} {manifest.line}"):
            send(self.settings, command)
        with self.stages.stage("answer", f"waiting at most {self.refresh.answer_timeout_s} s for the learner"):
            answer = await_answer(self.settings, command, self.refresh.answer_timeout_s, history=self.champions.history)
        return self._first_answer(plan, manifest.line) or answer

    def _first_answer(self, plan: Plan, line: str) -> AnyChange | None:
        """Return the answer that counts: where a command was sent twice, since its refresh was killed between, the second is refused."""
        try:
            return answer_to(plan.command_id, line, self.champions.history.changes)
        except RefreshError:
            self.folder.finish()
            raise

    def _command(self, manifest: Manifest, gate: Gate, plan: Plan) -> Command:
        forced = "" if gate.passed else f"forced by {self.asked.by} although the gate said no: "
        why = " ".join(filter(None, [self.asked.why, forced + " ".join(gate.reasons)]))
        return Command(
            command_id=plan.command_id,
            task=self.task,
            do=self.refresh.mode,
            line=manifest.line,
            by=self.asked.by,
            why=why[:4096],
            origin=manifest.origin,
            share=self.refresh.share if self.refresh.mode == "split" else None,
            against=plan.champion,
            metrics=gate_metrics(gate),
            data=manifest.data.fingerprint,
        )

    def _outcome(
        self,
        manifest: Manifest,
        gate: Gate,
        answer: AnyChange | None,
        data: Dataset,
        fitted: Fitted,
        comparison: Comparison,
        variants: list[Variant],
    ) -> Outcome:
        verdict, reasons = self._verdict(gate, answer)
        return Outcome(
            manifest=manifest,
            verdict=verdict,
            reasons=reasons,
            candidates=candidates_of(fitted),
            compared=comparison.labels,
            class_rows=dict(Counter(row.label for row in data.rows)),
            variants=variants,
            stages=list(self.stages.done),
            peak_memory_mib=peak_mib(),
            settings=self.refresh,
            command=self.asked.command,
        )

    def _verdict(self, gate: Gate, answer: AnyChange | None) -> tuple[Verdict, list[str]]:
        if isinstance(answer, RefusalEntry):
            return "refused", [f"The learner refused it: {answer.why}", *gate.reasons]
        if answer is not None:
            forced = [] if gate.passed else [f"Forced by {self.asked.by} although the gate said no."]
            verdicts: dict[str, Verdict] = {"serve": "released", "shadow": "shadow", "split": "split"}
            return verdicts[self.refresh.mode], [*forced, *gate.reasons]
        if self.asked.dry_run and (gate.passed or self.asked.force):
            return "dry run", gate.reasons
        return "kept", gate.reasons


def shuffled(rows: Sequence[LabelledText], seed: int) -> list[LabelledText]:
    """Return the rows with their labels exchanged at random: training data of a candidate that must be refused."""
    labels = [row.label for row in rows]
    random.Random(seed).shuffle(labels)  # noqa: S311 - a drill that can be repeated, no secret
    return [msgspec.structs.replace(row, label=label) for row, label in zip(rows, labels, strict=True)]


def answer_to(command_id: str, line: str, changes: Iterable[AnyChange]) -> AnyChange | None:
    """Return the first change that answers a command, None if there is none yet.

    Raises:
        RefreshError: if it is about another line: a GPU does not train twice to the same bytes, and the first were sent before a kill.
    """
    found = next((change for change in changes if change.command_id == command_id), None)
    if found is not None and found.line != line:
        raise RefreshError(
            f"the refresh that was taken up had sent {found.line}, which the log has answered (`millrace models show {found.line}`); "
            f"trained again it came to {line}, which is not sent"
        )
    return found


def _must_fold(fitted: Fitted) -> None:
    found = fitted.metrics["fold_max_abs_diff"]
    if not found <= FOLD_TOLERANCE:
        raise RefreshError(f"the network does not fold: its logits and the table's differ by {found:g}, more than {FOLD_TOLERANCE:g}")
