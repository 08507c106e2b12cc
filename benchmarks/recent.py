"""The index of recent predictions: how long it takes to fill, its memory, how it follows, and what a query costs beside a scan.

The scan is a loop over the same predictions, parsed already and in memory: less than anybody without an index would have to do. Queries and
scans are timed by the processor time of their thread, so that what else the machine does matters little.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from schemas.parsing import encode
from schemas.records import ModelVersion, Position, Prediction
from schemas.settings import Settings
from stack.generator import generate
from stack.redis import start_redis
from store.connect import connect_redis
from store.reader import confidence
from store.recent.index import RecentIndex
from store.recent.queries import Filter
from store.recent.words import parse_search
from store.writer import RedisWriter

BATCH = 1000
LIMIT = 50
TASK = "default"
CLASSES = 20
_MIB = 2**20


def main(arguments: list[str]) -> None:
    """Fill, follow, ask; print times, memory and ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks recent")
    parser.add_argument("--predictions", type=int, default=100_000)
    parser.add_argument("--rates", type=int, nargs="*", default=[2000, 17_000], help="predictions a second that arrive while it follows")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long they arrive")
    parser.add_argument("--times", type=int, default=200, help="how often each query is asked")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        part = start_redis(Path(folder) / "redis")
        try:
            settings = Settings(redis=f"redis://{part.address}/0", recent_predictions=args.predictions)
            with connect_redis(settings.redis) as client:
                writer = RedisWriter(client, recent=args.predictions)
                made = _predictions(1, args.predictions, 0)
                for start in range(0, len(made), BATCH):
                    writer.write_predictions([encode(p) for p in made[start : start + BATCH]])
                index = _fill(settings)
                try:
                    _ask(index, made, args.times)
                    for rate in args.rates:
                        _follow(index, writer, rate, args.seconds)
                finally:
                    index.close()
        finally:
            part.stop()


def _predictions(seed: int, count: int, first: int) -> list[Prediction]:
    """Return predictions of generated texts, one a millisecond, with ten of twenty classes each."""
    rng = random.Random(seed)  # noqa: S311 - a stream that is the same each time protects nothing
    now = int(time.time() * 1000)
    found = []
    for number, row in enumerate(generate(count, seed=first + 1), first):
        shares = sorted((rng.random() ** 3 for _ in range(10)), reverse=True)
        first_class = rng.randrange(CLASSES)
        proba = {f"class{(first_class + k) % CLASSES}": round(p / sum(shares), 6) for k, p in enumerate(shares)}
        found.append(
            Prediction(
                event_id=f"event-{number:012}", task=TASK, text=f"{row.text} {row.text}", meta={}, label=next(iter(proba)), proba=proba,
                classes=CLASSES, model=ModelVersion(line="base", seq=number), event_ts=now, predicted_at=now - count + number - first,
                source=Position(partition=0, offset=number),
            )
        )  # fmt: skip
    return found


def _fill(settings: Settings) -> RecentIndex:
    process = psutil.Process()
    with _another_thread() as idle:
        time.sleep(3)
    memory, used, began = process.memory_info().rss, sum(process.cpu_times()[:2]), time.monotonic()
    index = RecentIndex(settings)
    with _another_thread() as filling:
        index.start()
        while not index.is_filled(TASK):
            time.sleep(0.05)
    seconds, used = time.monotonic() - began, sum(process.cpu_times()[:2]) - used
    held = (process.memory_info().rss - memory) / _MIB
    events = index.indexed(TASK).events
    print(f"filled with {events:,} predictions in {seconds:.1f} s ({used:.1f} s of a processor)")
    print(f"  they take {held:.0f} MiB, {held * 1024 / events:.2f} KiB each")
    print(f"  another thread is late by, ms        idle {_percentiles(idle)}   while it fills {_percentiles(filling)}")
    return index


@contextmanager
def _another_thread() -> Iterator[list[float]]:
    """A thread that wants the interpreter every millisecond, as one that answers does: how late it gets it."""
    late: list[float] = []
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            due = time.perf_counter() + 0.001
            time.sleep(0.001)
            late.append(time.perf_counter() - due)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield late
    finally:
        done.set()
        thread.join()


def _queries() -> dict[str, tuple[Filter, Callable[[Prediction], bool]]]:
    return {
        "newest": (Filter(), lambda _: True),
        "a word": (Filter(search=parse_search("bitte")), lambda p: "bitte" in p.text.lower()),
        "two words, one not": (
            Filter(search=parse_search("bitte meine -noch")),
            lambda p: "bitte" in (text := p.text.lower()) and "meine" in text and "noch" not in text,
        ),
        "a word of Thai": (Filter(search=parse_search("อีกแล้ว")), lambda p: "อีกแล้ว" in p.text),
        "the beginning of words": (Filter(search=parse_search("rück*")), lambda p: "rück" in p.text.lower()),
        "a word that is not there": (Filter(search=parse_search("xyzzy")), lambda p: "xyzzy" in p.text.lower()),
        "a label": (Filter(label="class3"), lambda p: p.label == "class3"),
        "a label, unsure": (Filter(label="class3", max_confidence=0.2), lambda p: p.label == "class3" and confidence(p) <= 0.2),
        "very sure": (Filter(min_confidence=0.6), lambda p: confidence(p) >= 0.6),
        "ranked by a class": (Filter(rank_by="class3"), lambda p: "class3" in p.proba),
        "ranked, with a word": (
            Filter(rank_by="class3", search=parse_search("bitte")),
            lambda p: "class3" in p.proba and "bitte" in p.text.lower(),
        ),
    }


def _ask(index: RecentIndex, made: Sequence[Prediction], times: int) -> None:
    print(f"  {'query, ' + str(LIMIT) + ' a page':28}{'p50 ms':>9}{'p99 ms':>9}{'scan ms':>10}{'scan / p50':>12}")
    for name, (wanted, is_wanted) in _queries().items():
        took = [_time_of_query(index, wanted) for _ in range(times)]
        scans = [_time_of_scan(made, wanted, is_wanted) for _ in range(5)]
        p50, p99, scan = (_at(values, share) * 1000 for values, share in ((took, 0.5), (took, 0.99), (scans, 0.5)))
        print(f"  {name:28}{p50:9.2f}{p99:9.2f}{scan:10.1f}{scan / p50:12,.0f}")


def _scan(made: Sequence[Prediction], is_wanted: Callable[[Prediction], bool], rank: str | None) -> list[Prediction]:
    """Look at predictions, newest first, until a page is full; at all of them where they are ranked."""
    found: list[Prediction] = []
    for prediction in reversed(made):
        if is_wanted(prediction):
            found.append(prediction)
            if rank is None and len(found) == LIMIT:
                return found
    return found if rank is None else sorted(found, key=lambda p: p.proba[rank], reverse=True)[:LIMIT]


def _follow(index: RecentIndex, writer: RedisWriter, rate: int, seconds: float) -> None:
    """Write at a rate, and print how far the index is behind, what it takes of a processor, and when it has all of it."""
    process = psutil.Process()
    batches = [[encode(p) for p in _predictions(rate + n, BATCH, rate * 1000 + n * BATCH)] for n in range(int(rate * seconds / BATCH))]
    memory, began, missing = process.memory_info().rss, time.monotonic(), []
    used = index.processor_s
    for number, batch in enumerate(batches):
        writer.write_predictions(batch)
        missing.append(index.behind_ms(TASK))
        time.sleep(max(0.0, began + (number + 1) * BATCH / rate - time.monotonic()))
    took = time.monotonic() - began
    share = (index.processor_s - used) / took
    while not index.indexed(TASK).complete:
        time.sleep(0.05)
    whole = time.monotonic() - began - took
    grown = (process.memory_info().rss - memory) / _MIB
    print(
        f"{len(batches) * BATCH / took:,.0f} arrive a second: {share:.0%} of a processor, behind by {_at(missing, 0.5):.0f} ms, "
        f"at most {max(missing):.0f}, all of it {whole:.1f} s after the last; memory {grown:+.0f} MiB"
    )


def _timed(call: Callable[[], object]) -> float:
    began = time.thread_time()
    call()
    return time.thread_time() - began


def _time_of_query(index: RecentIndex, wanted: Filter) -> float:
    return _timed(lambda: index.page(TASK, wanted, limit=LIMIT))


def _time_of_scan(made: Sequence[Prediction], wanted: Filter, is_wanted: Callable[[Prediction], bool]) -> float:
    return _timed(lambda: _scan(made, is_wanted, wanted.rank_by))


def _at(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _percentiles(late: Sequence[float]) -> str:
    return f"p50 {_at(late, 0.5) * 1000:.2f}, p99 {_at(late, 0.99) * 1000:.2f}, most {max(late) * 1000:.1f}"
