"""Whether the compiled kernels and the snapshots take whatever comes: random and mutated bytes, to be learned, predicted, and loaded.

The kernels write into fixed workspaces and check no bounds, so a mistake would be a crash or wrong memory. With NUMBA_BOUNDSCHECK=1 and a
NUMBA_CACHE_DIR of its own, or with NUMBA_DISABLE_JIT=1, texts are taken apart in arrays whose bounds are checked, and nothing else is done.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import psutil
import safetensors.numpy

from online_model import features, kernels, snapshots, tokens
from online_model.blocks import Block
from online_model.replica import Replica, SnapshotError
from online_model.softmax import HashedSoftmax, warm_up
from schemas.log import LabelEntry, Origin, ReleaseEntry
from schemas.records import FeedbackRef, Position

SAMPLES = """
Good day, World! isn't it 10:45 already? <b>#morning</b> @someone https://example.org/?q=1 ... The 90s & 2000s, co\u00adoperate.
Straße GROẞ İstanbul ﬃ ŉ ΐ Ὀδυσσεύς ᾼ ПРИВЕТ Հայերեն ქართული ᎠᎳᎩ ꭰꮃꭹ 𐐔𐐇𐐝 𞤀𞤁 naïve nai\u0308ve a\u0345 tiếng Việt
ภาษาไทยไม่มีช่องว่าง ພາສາລາວ ខ្មែរ\u200bភាសា မြန်မာ 今天天气很好。日本語のテキスト、ﾊﾝｶｸ 안녕하세요 한국 𠀋𪚥 ｗｉｄｅ
हिन्दी में लिखा है। தமிழ் العَرَبِيَّةُ می\u200cخواهم שָׁלוֹם ܐܪܡܝܐ ٣٤ १२ ⅷ ½ x²
😡😡 👍🏽 👨‍👩‍👧‍👦 👩🏽‍🚀 🇹🇭🇩🇪 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣#️⃣ ☺️ ❤ © \u200d\u200b\u2028\ufeff\ufffd\U000e0100\U000e0041\U0010ffff \x00\x01\x7f\x85
""".encode()
EDGES = (0x00, 0x20, 0x23, 0x40, 0x41, 0x7F, 0x80, 0xBF, 0xC0, 0xC3, 0xCD, 0xE0, 0xED, 0xEF, 0xF0, 0xF3, 0xF4, 0xF7, 0xF8, 0xFF)
POOL = 1 << 18
MOST_CLASSES = 200
MOST_GROWTH_MIB = 200
"""What a run may take up beyond what it has after its first twentieth: memory that the allocator keeps, not a leak a text."""


def main(arguments: list[str]) -> None:
    """Feed the kernels with texts and the replica with snapshots, and print what became of them; a wrong number or a leak ends it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fuzz")
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--snapshots", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    if {"NUMBA_BOUNDSCHECK", "NUMBA_DISABLE_JIT"} & set(os.environ):
        run_checked(args.texts, args.seed)
        return
    warm_up()
    run_texts(args.texts, args.seed)
    run_snapshots(args.snapshots, args.seed)


class Progress:
    """Prints how far a run is, how fast, and its memory, and ends it if the memory keeps growing."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._every = what, total, max(1, total // 20)
        self._began, self._first_mib = time.perf_counter(), math.inf

    def at(self, number: int) -> None:
        """Print a line at each twentieth.

        Raises:
            MemoryError: if memory has grown by more than `MOST_GROWTH_MIB` since the first one.
        """
        if number % self._every and number != self._total:
            return
        rss, seconds = psutil.Process().memory_info().rss / 2**20, time.perf_counter() - self._began
        print(f"{number:12,} {self._what}  {number / seconds:10,.0f}/s  {seconds:7,.0f} s  RSS {rss:,.0f} MiB", flush=True)
        self._first_mib = min(self._first_mib, rss)
        if rss > self._first_mib + MOST_GROWTH_MIB:
            raise MemoryError(f"resident memory has grown from {self._first_mib:.0f} to {rss:.0f} MiB")


def run_texts(count: int, seed: int) -> None:
    """Predict every text and learn every fourth, as bytes by the kernels, some as strings by the model.

    Raises:
        ArithmeticError: if probabilities or weights are no finite numbers.
    """
    draw, progress = _randomness(seed), Progress("texts", count)
    model = HashedSoftmax(memory_mib=1)
    for number, data in enumerate(byte_strings(draw, count), start=1):
        label = draw.randrange(3 + number // 997 % MOST_CLASSES)
        if number % 16 == 0 or label not in model.classes:
            model.learn_one(data.decode(errors="surrogateescape"), label)
            model.predict_top(data.decode(errors="replace"), 3)
        # The bytes as they are cannot come by the model's methods, which take strings.
        at, work = model._at, model._work  # noqa: SLF001 - see above
        kernels.predict(at, work, data)
        if number % 100 == 0 and not math.isclose(float(model._scores.sum()), 1.0, rel_tol=1e-9):  # noqa: SLF001 - see above
            raise ArithmeticError(f"probabilities sum to {model._scores.sum()} for {data!r}")  # noqa: SLF001 - see above
        if number % 4 == 0:
            kernels.learn(at, work, data, label % len(model.classes), draw.choice((1.0, 0.01, 10_000.0)), 0.2)
        if number % 200_000 == 0 or number == count:
            if not all(np.isfinite(array).all() for array in model.arrays().values()):
                raise ArithmeticError("the model holds numbers that are not finite")
            if overrun(model._block) or overrun(features.workspace()):  # noqa: SLF001 - see above
                raise MemoryError("a kernel has written between the sections")
            model = HashedSoftmax(memory_mib=1)
            model.learn_one("a new one", 0)
        progress.at(number)


def _randomness(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeatable by its seed; it protects nothing


def overrun(block: Block) -> bool:
    """Whether there is anything but zeros between the sections of a block."""
    written = np.count_nonzero(block.arrays[0].base)  # type: ignore[arg-type]  # the bytes of all sections and what lies between
    return bool(written != sum(np.count_nonzero(section.view(np.uint8)) for section in block.arrays))


def run_checked(count: int, seed: int) -> None:
    """Take texts apart in arrays instead of plain pointers, whose bounds are checked where numba or Python is told to."""
    draw, progress = _randomness(seed), Progress("texts with bounds checked", count)
    arrays = features.workspace().arrays
    found, listed = tokens.Tokens(*arrays[: tokens.SECTIONS_USED]), features.Features(*arrays[tokens.SECTIONS_USED :])
    for number, data in enumerate(byte_strings(draw, count), start=1):
        tokens.tokenise(found, data)
        features.add_all(found, draw.randrange(25), listed)
        progress.at(number)


def byte_strings(draw: random.Random, count: int) -> Iterator[bytes]:
    """Yield random bytes, parts of real texts cut anywhere, both mutated, and now and then very long ones."""
    noise = b""
    for number in range(count):
        if number % 10_000 == 0:
            noise = draw.randbytes(POOL)
        kind = draw.randrange(8)
        pool = noise if kind < 3 else SAMPLES
        start = draw.randrange(len(pool))
        data = pool[start : start + int(draw.expovariate(0.02))]
        if kind >= 5:
            data = mutated(draw, data, draw.randrange(1, 9))
        if number % 2_000 == 0:
            data = data[: draw.choice((1, 2, 3, draw.randrange(1, 200)))] * draw.choice((9_000, 100_000))
        yield data


def mutated(draw: random.Random, data: bytes, times: int) -> bytes:
    """Return the bytes with some changed, flipped, inserted, cut out or doubled."""
    found = bytearray(data)
    for _ in range(times):
        at, value = draw.randrange(len(found) + 1), draw.choice(EDGES)
        match draw.randrange(5):
            case 0:
                found[at : at + 1] = bytes((value,))
            case 1:
                found[at:at] = bytes((value,) * draw.randrange(1, 4))
            case 2:
                del found[at : at + draw.randrange(1, 9)]
            case 3:
                found[at:at] = found[at : at + draw.randrange(1, 99)]
            case _ if at < len(found):
                found[at] ^= 1 << draw.randrange(8)
    return bytes(found)


def run_snapshots(count: int, seed: int) -> Counter[str]:
    """Load damaged snapshots, and such as are intact but lie; what is loaded must predict, learn, and be stored again.

    Returns: how many were refused and how many loaded.
    """
    draw, progress = _randomness(seed), Progress("snapshots", count)
    good = [*(taught(labels).snapshot() for labels in (0, 1, 40)), watching().snapshot()]
    became: Counter[str] = Counter()
    for number in range(1, count + 1):
        data = draw.choice(good)
        data = lying(draw, data) if number % 2 else mutated(draw, data, draw.randrange(1, 5))
        try:
            replica = Replica.from_snapshot(data)
        except SnapshotError:
            became["refused"] += 1
        else:
            replica.predict("Good day", top=3)
            replica.model.learn_one("Good day", "label 1")
            Replica.from_snapshot(replica.snapshot())
            became["loaded"] += 1
        progress.at(number)
    print(f"{became['refused']:,} refused, {became['loaded']:,} loaded", flush=True)
    return became


def taught(labels: int) -> Replica:
    """Return a replica that has learned so many labels."""
    replica = Replica("t", memory_mib=1, quality_window=5)
    for seq in range(1, labels + 1):
        text, at = f"text {seq % 7} of {seq * seq % 31}", FeedbackRef(at=Position(partition=0, offset=seq))
        served = replica.predict(text, top=3)
        label = f"label {seq % 5}"
        replica.apply(
            LabelEntry(
                seq=seq, task="t", time=seq, event_id=str(seq), text=text, meta={}, label=label, weight=1.0, served=served, feedback=at
            )
        )
    return replica


def watching() -> Replica:
    """Return a replica with lines that are watched."""
    replica = taught(20)
    common: dict[str, Any] = {"task": "t", "time": 1, "by": "fuzz", "why": "", "origin": Origin()}
    replica.apply(ReleaseEntry(**common, seq=21, line="r1", mode="split", share=0.5), brought=taught(7).model)
    replica.apply(ReleaseEntry(**common, seq=22, line="r2"), brought=taught(9).model)
    return replica


ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2**31, 2**63, 10**30, -1e308, 0.5, "", "NaN", "a" * 5000, "15.1.0", "\x00"),
    *("softmax", "softmax?memory_mib=100000000", "softmax?memory_mib=16385", "softmax?learning_rate=1e400"),
    *("river:naive_bayes.MultinomialNB", "river:os.system"),
    *([], {}, ["a", "a"], [["a", "b", 1.0]], ["x"] * 20_000, {"a": []}),
)
"""What stands in a header that lies."""


def lying(draw: random.Random, data: bytes) -> bytes:
    """Return an intact snapshot with a right checksum whose header or arrays say something else."""
    header, arrays = snapshots.decode(data)
    if draw.random() < 0.5:
        name = draw.choice(list(arrays))
        arrays = {**arrays, name: _odd_array(draw, arrays[name])}
        if draw.random() < 0.1:
            del arrays[name]
        return snapshots.encode(header, arrays)
    fields = msgspec.to_builtins(header)
    where = draw.choice(
        [fields, fields["quality"], fields["drift"], *fields["lines"], *filter(None, (x["trial"] for x in fields["lines"]))]
    )
    where[draw.choice([*where, "unknown"])] = draw.choice(ODD)
    try:
        return snapshots.encode(msgspec.convert(fields, snapshots.Header), arrays)
    except msgspec.ValidationError:  # then it cannot have a right checksum either
        text = msgspec.json.encode(fields).decode()
        return safetensors.numpy.save(arrays, {snapshots.KEY: draw.choice((text, text[:-1], "[" * 100_000, '{"format":' * 5_000))})


def _odd_array(draw: random.Random, array: Any) -> Any:
    array = array.copy()
    match draw.randrange(6):
        case 0:
            return array.astype(draw.choice((np.float16, np.float32, np.float64, np.int64, np.uint32, np.uint8)))
        case 1:
            return array.reshape(draw.choice(((-1,), (1, -1), (-1, 1), (1, 1, -1)))) if array.size else array
        case 2:
            return array[: draw.randrange(len(array) + 1)]
        case 3:
            return np.repeat(array, 2, axis=draw.randrange(array.ndim))
        case _:
            wide = np.concatenate([array.ravel().astype(np.float64), [0.0]])
            wide[draw.randrange(wide.size)] = draw.choice((math.nan, math.inf, -math.inf, 3e38, -3e38, 1e300, -1.0, 2.0**32 - 1, 1e-40))
            with np.errstate(all="ignore"):  # that it does not fit is meant
                return wide[:-1].astype(array.dtype).reshape(array.shape)
