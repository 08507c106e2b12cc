"""Writes the read model into Redis: absolute values only, so that any batch may be written again."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import redis

from schemas.parsing import encode, record_parser
from schemas.records import Aggregate, LabelState, Prediction, Quality, State
from schemas.trending import Trending
from store import scripts
from store.connect import redis_unavailable
from store.keys import COUNT_LIFETIME_MS, JOB_LIFETIME_S, NO_LABEL, TRENDING_LIFETIME_MS, CountName, Granularity, Keys

HISTORY = 20
"""States of one event that its receipt keeps, the newest ones."""

TEXT_SHOWN = 4096
"""Characters of a text that Redis keeps; the whole text is in Kafka."""

COMMENT_SHOWN = 1000
"""Characters of a comment that Redis keeps in each state of a receipt; the whole comment is in Kafka."""

_CHUNK_ITEMS = 1000
_CHUNK_BYTES = 4 * 1024 * 1024
# Redis 6.2 reads the strings of msgpack, not its binary type: bodies are packed as text.
_pack = msgspec.msgpack.Encoder().encode

_Call = tuple[str, list[str], list[Any]]


class RedisWriter:
    """Writes batches; each call is one round trip. Memory is bounded: see `store.keys`.

    Every method raises `RedisUnavailable`; parts of the batch may be written then, and writing it again is harmless.
    """

    def __init__(self, client: redis.Redis, *, recent: int, topic_prefix: str = "") -> None:
        """Write to `client`, keeping the newest `recent` predictions, and as many label receipts, of each task."""
        self._client = client
        self._recent = recent
        self._keys = Keys(topic_prefix)

    def is_marked(self) -> bool:
        """Say whether this Redis holds what was written to it; one that came back empty has lost the mark, and is to be filled again."""
        try:
            return bool(self._client.exists(self._keys.generation))
        except redis.RedisError as error:
            raise redis_unavailable(self._client, error) from error

    def begin_filling(self) -> None:
        """Note that this Redis is being filled: if it is emptied again meanwhile, that is gone too."""
        try:
            self._client.set(self._keys.filling, uuid.uuid4().hex)
        except redis.RedisError as error:
            raise redis_unavailable(self._client, error) from error

    def mark(self) -> None:
        """Mark this Redis as one that holds everything since `begin_filling`; not if it was emptied in between."""
        try:
            self._client.eval(scripts.MARK, 2, self._keys.filling, self._keys.generation, uuid.uuid4().hex)
        except redis.RedisError as error:
            raise redis_unavailable(self._client, error) from error

    def mark_job(self, name: str, *, now: int) -> None:
        """Note that the job was alive at `now` (epoch ms)."""
        try:
            self._client.set(self._keys.job(name), now, ex=JOB_LIFETIME_S)
        except redis.RedisError as error:
            raise redis_unavailable(self._client, error) from error

    def write_predictions(self, batch: Sequence[bytes]) -> None:
        """Write encoded predictions; of an event that was predicted twice, the first one written stays."""
        by_task: dict[str, list[tuple[str, int, str, str]]] = defaultdict(list)
        for data in batch:
            p = _parse_indexed(data)
            # A prediction that is short as a whole has a short text, and is kept as it is.
            shown = data if len(data) <= TEXT_SHOWN else encode(shorten(_parse_prediction(data)))
            by_task[p.task].append((p.event_id, p.predicted_at, p.label or NO_LABEL, shown.decode()))
        self._run(self._prediction_calls(by_task))

    def _prediction_calls(self, by_task: dict[str, list[tuple[str, int, str, str]]]) -> Iterator[_Call]:
        for task, rows in by_task.items():
            keys = [
                self._keys.predictions(task),
                self._keys.predictions_by_time(task),
                self._keys.predictions_by_label(task, None),
                self._keys.predictions_arrived(task),
            ]
            for chunk in _chunks(rows, 3):
                yield scripts.WRITE_PREDICTIONS, keys, [_pack(chunk), self._recent]

    def write_label_states(self, batch: Sequence[LabelState]) -> None:
        """Add states to the receipts of their events. A state that names no event or task has no receipt, only a count."""
        by_task: dict[str, list[tuple[str, int, int, int, int, str]]] = defaultdict(list)
        for s in batch:
            if s.event_id and s.task:
                at, body = s.feedback.at, encode(with_short_comment(s)).decode()
                by_task[s.task].append((s.event_id, at.partition, at.offset, int(s.state is not State.WAITING), s.time, body))
        self._run(self._label_calls(by_task))

    def _label_calls(self, by_task: dict[str, list[tuple[str, int, int, int, int, str]]]) -> Iterator[_Call]:
        for task, rows in by_task.items():
            keys = [self._keys.labels(task), self._keys.labels_by_time(task), self._keys.labels_arrived(task)]
            for chunk in _chunks(rows, 5):
                yield scripts.WRITE_LABEL_STATES, keys, [_pack(chunk), self._recent, HISTORY]

    def write_quality(self, quality: Quality) -> None:
        """Write a task's quality, unless that of a later seq, or of the same seq and a later time, is there."""
        self._run([(scripts.WRITE_QUALITY, [self._keys.quality(quality.task)], [encode(quality), quality.model.seq, quality.time])])

    def write_trending(self, windows: Sequence[Trending]) -> None:
        """Write windows of names; of each task and kind, one that ends earlier than what is there is passed over."""
        self._run(
            (scripts.WRITE_TRENDING, [self._keys.trending(w.task, w.kind)], [encode(w), w.end, w.end + TRENDING_LIFETIME_MS])
            for w in windows
        )

    def write_aggregates(self, batch: Sequence[Aggregate]) -> None:
        """Set counts; within the batch and between calls the last value of a count stands."""
        indexes: dict[tuple[str, CountName, Granularity], dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        for a in batch:
            indexes[a.task, a.name, a.granularity][a.start][a.label] = a.count
        self._run(self._count_calls(indexes))

    def _count_calls(self, indexes: dict[tuple[str, CountName, Granularity], dict[int, dict[str, int]]]) -> Iterator[_Call]:
        for (task, name, granularity), buckets in indexes.items():
            rows = [(start, [part for pair in counts.items() for part in pair]) for start, counts in buckets.items()]
            lifetime = COUNT_LIFETIME_MS[granularity] or 0
            yield scripts.WRITE_COUNTS, [self._keys.counts(task, name, granularity)], [_pack(rows), lifetime]

    def _run(self, calls: Iterable[_Call]) -> None:
        """Run the scripts in one pipeline.

        EVAL with the text, not EVALSHA: it cannot fail after Redis has restarted, and Redis compiles a text only once.
        """
        pipeline: Any = self._client.pipeline(transaction=False)
        for script, keys, arguments in calls:
            pipeline.eval(script, len(keys), *keys, *arguments)
        try:
            pipeline.execute()
        except redis.RedisError as error:
            raise redis_unavailable(self._client, error) from error


class _Indexed(msgspec.Struct, frozen=True, gc=False):
    """The fields of a prediction by which it is found."""

    event_id: str
    task: str
    label: str | None
    predicted_at: int


_parse_indexed = record_parser(_Indexed)
_parse_prediction = record_parser(Prediction)


def shorten(prediction: Prediction) -> Prediction:
    """Cut a text that is too long to one character more than is shown: the one says that there was more."""
    if len(prediction.text) <= TEXT_SHOWN:
        return prediction
    return msgspec.structs.replace(prediction, text=prediction.text[: TEXT_SHOWN + 1])


def with_short_comment(state: LabelState) -> LabelState:
    """Cut a comment that is too long; a receipt holds many states."""
    if state.comment is None or len(state.comment) <= COMMENT_SHOWN:
        return state
    return msgspec.structs.replace(state, comment=f"{state.comment[:COMMENT_SHOWN]}…")


def _chunks(rows: list[Any], body: int) -> Iterator[list[Any]]:
    """Split rows so that no script runs long; `body` is the place of the large field in a row."""
    chunk: list[Any] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) >= _CHUNK_ITEMS or size + len(row[body]) > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += len(row[body])
    if chunk:
        yield chunk
