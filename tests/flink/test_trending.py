"""Trending names: the operator against a recount, idle streams, full memory."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from pyflink.common import Row, Types
from pyflink.datastream import DataStream
from pyflink.table import Table

from schemas.parsing import encode, record_parser
from schemas.records import ModelVersion, Position, Prediction
from schemas.settings import Settings
from schemas.trending import Trending
from stream.environment import Environment, Job
from stream.trending import count_names
from tests.flink.conftest import Record
from tests.trending_reference import Arrival, names, recount

pytestmark = pytest.mark.flink

Environments = Callable[[Job], Environment]
Tables = Callable[[Environment, Sequence[Record]], Table]

SLIDE_MS = 60_000
BEGIN_MS = 1_700_000_000_000 - 1_700_000_000_000 % SLIDE_MS

COMMON = ("the", "and", "für", "nicht", "это", "है")
RARE = (
    "Straße STRASSE strasse", "ΕΛΛΑΣ Ελλάς ελλας", "東京で地震です", "한국 사람 나", "ขอบคุณมาก", "می‌خواهم کتاب‌ها", "किताबें पढ़ना", "İstanbul",
    "don't DON’T 'quoted' rock'n'roll",
    "me@example.com info@x see https://example.com/#part?q=word www.example.org/way", "a&amp;b &#39;tis",
    "#Tag #tag ＃ＴＡＧ #tag_1", "#1 #2nd # ## ##double #", "x#no _#no #a#b #東京#大阪",
    "#️⃣ 1️⃣ #😀 #go😀 👩‍🚀 ❤️ #zwj‍👩",
    "@ann @Ann, @bob_7 @_ @42 @ @名前 東京@名前 mail@",
    "x" * 65, "é e\u0301 cafe\u0301 café", "Ⅷ ﬁsh ＷＩＤＥ", "abc東京def 12ab 1234 v2", "𝒳𝒴𝒵 𐐀𐐁𐐂 𠀀𠀁",
)  # fmt: skip


def generated(number: int, seed: int) -> list[Arrival]:
    """Return predictions of two partitions: out of order between them, some late, some far too late, and a long pause."""
    rng = random.Random(seed)
    arrivals, clock = [], [BEGIN_MS, BEGIN_MS]
    for n in range(number):
        partition = rng.randrange(2)
        clock[partition] += rng.randrange(2 * 12 * SLIDE_MS * 2 // number)
        if n == number * 3 // 4:
            clock = [max(clock) + 20 * SLIDE_MS + 1] * 2
        back = 0 if rng.random() < 0.95 else rng.choice([70_000, 130_000, 600_000])
        words = [word for word in COMMON if rng.random() < 0.5] + rng.choices(RARE, k=2)
        words += ["Burst"] * (rng.random() < (0.6 if number // 2 < n < number * 2 // 3 else 0.15))
        words += [f"w{rng.randrange(12)}xx", f"#t{rng.randrange(9)}", f"@m{rng.randrange(9)}"]
        task = "other" if rng.random() < 0.2 else "default"
        arrivals.append(Arrival(partition, clock[partition] - back, task, " ".join(words)))
    return [*arrivals, *(Arrival(partition, max(clock) + 8 * SLIDE_MS, "default", "end") for partition in range(2))]


def encoded(text: str, number: int) -> bytes:
    return encode(
        Prediction(
            label="text",
            proba={"text": 1.0},
            classes=1,
            model=ModelVersion(line="base", seq=0),
            event_id=f'"text":"{number}',
            task="default",
            text=text,
            meta={"text": "not this"},
            event_ts=0,
            predicted_at=0,
            source=Position(partition=0, offset=number),
        )
    )


def closed_windows(environment: Environment, create: Tables, arrivals: Sequence[Arrival], settings: Settings) -> DataStream:
    rows: list[Record] = [
        (encoded(arrival.text, number), arrival.partition, number, arrival.time, None, arrival.task, "text", None)
        for number, arrival in enumerate(arrivals)
    ]
    listed = create(environment, rows)
    updates = environment.tables.sql_query(
        "SELECT 'predictions' AS kind, record_value,"  # noqa: S608 - the name is Flink's
        " CAST(NULL AS STRING) AS name, task, label, CAST(NULL AS STRING) AS granularity,"
        f" record_time AS start_ms, CAST(record_partition AS BIGINT) AS total FROM {listed}"
    )

    return as_text(count_names(environment.tables.to_changelog_stream(updates), settings))


def as_text(updates: DataStream) -> DataStream:
    def window(row: Row) -> list[str]:
        return [bytes(row[1]).decode()] if row[0] == "trending" else []

    return updates.flat_map(window, output_type=Types.STRING())


def test_windows_equal_a_recount(environment: Environments, table: Tables, settings: Settings) -> None:
    settings = msgspec.structs.replace(settings, topic_partitions=2, trending_window_slides=3, trending_top=25, trending_idle_ms=3_600_000)
    arrivals = generated(1600, seed=5)
    expected = recount(arrivals, slide=SLIDE_MS, slides=3, top=25, lateness=settings.trending_lateness_ms, partitions=2)
    with closed_windows(environment(Job.PUBLISH), table, arrivals, settings).execute_and_collect() as results:
        found = [msgspec.to_builtins(record_parser(Trending)(row.encode())) for row in results]
    for window in found:
        del window["v"]
    assert found == expected
    last = {window["task"]: window for window in expected}
    assert last["default"]["late"] > last["default"]["lost"] > 0  # type: ignore[operator]  # values are of several kinds
    shown = {(window["kind"], item["name"]) for window in expected for item in window["items"]}  # type: ignore[attr-defined]  # as above
    assert {("word", "burst"), ("word", "strasse"), ("word", "地震"), ("hashtag", "東京"), ("mention", "名前")} <= shown
    assert any(window["total_before"] and not window["total"] for window in expected), "the pause has empty windows"


ENDLESS_ROWS = 240
CRASH_AT = 160


def endless(environment: Environment) -> Table:
    """Return updates for 40 predictions a second, of which each comes 5 s of Kafka's time after the one before, and then none any more."""
    tables = environment.tables
    tables.execute_sql(
        "CREATE TEMPORARY TABLE numbers (number BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '40',"
        f" 'fields.number.kind' = 'sequence', 'fields.number.start' = '0', 'fields.number.end' = '{ENDLESS_ROWS - 1}')"
    )
    tables.execute_sql("CREATE TEMPORARY TABLE silence (number INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1')")
    text = """'{"label":"a","text":"word' || CAST(MOD(number, 7) AS STRING) || ' #t' || CAST(MOD(number, 3) AS STRING) || '"}'"""
    none = "CAST(NULL AS STRING)"
    return tables.sql_query(
        f"SELECT 'predictions' AS kind, ENCODE({text}, 'UTF-8') AS record_value,"  # noqa: S608 - constants of this test
        f" {none} AS name, 'default' AS task, {none} AS label,"
        f" {none} AS granularity, {BEGIN_MS} + 5000 * number AS start_ms, MOD(number, 2) AS total FROM numbers UNION ALL"
        f" SELECT 'heartbeat', CAST(NULL AS BYTES), {none}, {none}, {none}, {none}, CAST(0 AS BIGINT), CAST(0 AS BIGINT) FROM silence"
    )


def test_counts_outlive_a_crash_and_a_stream_that_stops_closes_its_windows(
    environment: Environments, settings: Settings, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(settings, topic_partitions=2, trending_window_slides=3, trending_idle_ms=4000)
    env = environment(Job.PUBLISH)
    env.streams.enable_checkpointing(300)
    crashed = str(tmp_path / "crashed")

    def fail_once(row: Row) -> Row:
        if row[0] == "predictions" and row[6] == BEGIN_MS + 5000 * CRASH_AT and not Path(crashed).exists():
            Path(crashed).touch()
            raise RuntimeError("as the test wants it")
        return row

    counted = count_names(env.tables.to_changelog_stream(endless(env)), settings)
    watched = counted.map(fail_once, output_type=counted.get_type())
    windows: list[Trending] = []
    with as_text(watched).execute_and_collect() as results:
        watchdog = threading.Timer(120, results.close)
        watchdog.start()
        for row in results:
            windows.append(record_parser(Trending)(row.encode()))
            if windows[-1].end > BEGIN_MS + 24 * 3_600_000 and windows[-1].kind == "mention":
                break
        watchdog.cancel()
    assert Path(crashed).exists()
    arrivals = [Arrival(n % 2, BEGIN_MS + 5000 * n, "default", f"word{n % 7} #t{n % 3}") for n in range(ENDLESS_ROWS)]
    # What the clock closes is what a prediction far ahead would close; the pause itself is cut short.
    arrivals += [Arrival(partition, windows[-1].end + settings.trending_lateness_ms, "default", "") for partition in range(2)]
    assert [msgspec.to_builtins(window) | {"v": 0} for window in windows] == [
        window | {"v": 0}
        for window in recount(arrivals, slide=SLIDE_MS, slides=3, top=20, lateness=settings.trending_lateness_ms, partitions=2)
    ]
    assert abs(windows[-1].end - time.time() * 1000) < 2 * SLIDE_MS


def test_full_memory_drops_the_rarest_and_closes_early(environment: Environments, table: Tables, settings: Settings) -> None:
    settings = msgspec.structs.replace(
        settings, topic_partitions=2, trending_window_slides=1, trending_names=4000, trending_idle_ms=3_600_000
    )
    arrivals = [Arrival(0, BEGIN_MS + 250 * n, "default", f"often one{n:05} two{n:05}") for n in range(6000)]
    with closed_windows(environment(Job.PUBLISH), table, arrivals, settings).execute_and_collect() as results:
        words = [window for row in results if (window := record_parser(Trending)(row.encode())).kind == "word"]
    # The other partition never comes and holds up every window, until so many names are not to be kept.
    assert len(words) >= 5
    for window in words:
        assert (window.total, window.missed, window.late) == (240, 1, 0)
        assert all(item.count == 1 for item in window.items if item.name != "often")


def test_names_of_a_text() -> None:
    found = names("RT @Ann: #Delay again?! mail me@example.com, https://a.b/#c “don’t” 東京都 #1 a#b &amp; ＃Ｗ️")
    assert found == {
        ("mention", "ann"), ("hashtag", "delay"), ("word", "again"), ("word", "mail"), ("word", "don't"), ("word", "東京"),
        ("word", "京都"), ("hashtag", "w"),
    }  # fmt: skip
