"""Frames: what is gathered in the JVM is what Python reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, ProcessFunction
from pyflink.table import Table

from stream.environment import Environment, Job
from stream.frames import FRAME_BYTES, SOURCE, Frames
from tests.flink.conftest import Record, record

pytestmark = pytest.mark.flink

Environments = Callable[[Job], Environment]
Tables = Callable[[Environment, Sequence[Record]], Table]
KEYED = Frames("ss")


class Measure(ProcessFunction):  # type: ignore[misc]  # PyFlink's classes are untyped
    """Tells of each frame the offsets and the lengths of values: PyFlink collects bytes one by one."""

    def process_element(self, value: bytes, _ctx: ProcessFunction.Context) -> Iterator[str]:
        yield str([(offset, None if data is None else len(data), partition, time) for data, partition, offset, time in SOURCE.rows(value)])


class Tell(KeyedProcessFunction):  # type: ignore[misc]  # PyFlink's classes are untyped
    """Tells the key and the rows of each frame."""

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        yield Row(ctx.get_current_key(), str(list(KEYED.rows(value))))


def test_frames_are_full_or_end_and_hold_every_value(environment: Environments, table: Tables) -> None:
    env = environment(Job.CLASSIFY)
    values = [b"a", None, b"", b"bb", bytes(FRAME_BYTES + 5), b"ccc", bytes(FRAME_BYTES // 2), bytes(FRAME_BYTES // 2), b"d"]
    columns = "record_value, record_partition, record_offset, record_time"
    listed = table(env, [record(value, offset, time=7 * offset) for offset, value in enumerate(values)])
    rows = env.tables.to_data_stream(env.tables.sql_query(f"SELECT {columns} FROM {listed}"))  # noqa: S608 - the names are ours
    frames = SOURCE.gather(rows, most_rows=3, wait_ms=60_000, uid="test-gather").process(Measure(), output_type=Types.STRING())
    with frames.execute_and_collect() as results:
        found = [eval(text) for text in results]  # noqa: S307 - what this test has written itself
    assert [offset for frame in found for offset, *_ in frame] == list(range(len(values)))
    assert [[length for _, length, *_ in frame] for frame in found] == [
        [1, None, 0],
        [2],
        [FRAME_BYTES + 5],
        [3, FRAME_BYTES // 2],
        [FRAME_BYTES // 2, 1],
    ]
    assert {(partition, time - 7 * offset) for frame in found for offset, _, partition, time in frame} == {(0, 0)}


def test_a_frame_by_key_holds_rows_of_that_key_and_what_is_taken_back_is_left_out(environment: Environments) -> None:
    env = environment(Job.LEARN)
    words = env.tables.from_elements([("x", "één"), ("y", "b"), ("x", "c")], ["word", "value"])
    # A changing count sends its old value to be taken back.
    counted = env.tables.sql_query(f"SELECT word, CAST(COUNT(*) AS STRING) FROM {words} GROUP BY word")  # noqa: S608 - the name is Flink's
    frames = KEYED.gather_by_key(env.tables.to_changelog_stream(counted), most_rows=9, wait_ms=60_000, uid="test-gather")
    with frames.process(Tell(), output_type=Types.ROW([Types.STRING(), Types.STRING()])).execute_and_collect() as results:
        found = {row[0]: row[1] for row in results}
    assert found == {"x": "[[b'x', b'1'], [b'x', b'2']]", "y": "[[b'y', b'1']]"}
