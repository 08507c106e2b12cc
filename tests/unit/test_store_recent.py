"""The index of recent predictions answers as a plain filter over the same records would, by walking an index."""

from __future__ import annotations

import threading
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import State
from store.cursor import Cursor, InvalidCursor
from store.recent import queries
from store.recent.places import Place
from store.recent.queries import Filter, Order, arrived_after, candidates, page, plan, span
from store.recent.rows import TIES, Marks, Recent, first_id
from store.recent.table import RecentTable
from store.recent.words import InvalidSearch, Search, parse_search, spaced
from tests.recent_rows import add, all_pages, is_wanted, prediction

pytestmark = pytest.mark.unit

WORDS = ["refund", "card", "late", "東京", "กิน"]
LABELS = ["a", "b", "ü"]

chances = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
probas = st.dictionaries(st.sampled_from(LABELS), chances, max_size=3)
marks = st.builds(
    Marks,
    state=st.none() | st.sampled_from(State),
    truth=st.none() | st.sampled_from(LABELS),
    reviewed=st.booleans(),
    marked_wrong=st.booleans(),
)


@st.composite
def records(draw: st.DrawFn) -> list[Recent]:
    """Up to 40 rows, many of them in the same millisecond."""
    rows = []
    for number in range(draw(st.integers(0, 40))):
        made = prediction(
            f"e{number}",
            draw(st.integers(1000, 1006)),
            text=" ".join(draw(st.lists(st.sampled_from(WORDS), max_size=4))),
            proba=draw(probas),
            line=draw(st.sampled_from(["base", "r1-a"])),
        )
        rows.append(Recent(prediction=made, marks=draw(marks), arrived=draw(st.integers(0, 50))))
    return rows


filters = st.builds(
    Filter,
    label=st.none() | st.sampled_from(["", *LABELS]),
    min_confidence=st.none() | chances,
    max_confidence=st.none() | chances,
    line=st.none() | st.sampled_from(["base", "r1-a", "none"]),
    since=st.none() | st.integers(999, 1007),
    until=st.none() | st.integers(999, 1007),
    reviewed=st.none() | st.booleans(),
    state=st.none() | st.sampled_from(State),
    rank_by=st.none() | st.sampled_from(LABELS),
)


@settings(deadline=None, max_examples=50)
@given(records(), filters, st.lists(st.sampled_from(WORDS), max_size=2), st.integers(1, 7))
def test_pages_hold_what_a_plain_filter_finds_in_its_order(rows: list[Recent], wanted: Filter, words: list[str], limit: int) -> None:
    table = RecentTable(most=1000)
    add(table, rows)
    search = parse_search(" ".join(words)) if words else None
    found = all_pages(table, Filter(**{name: getattr(wanted, name) for name in wanted.__struct_fields__} | {"search": search}), limit)
    naive = {row.prediction.event_id: row for row in rows if is_wanted(row, wanted, words)}
    assert sorted(row.prediction.event_id for row in found) == sorted(naive)
    for row in found:
        assert (row.prediction, row.marks) == (naive[row.prediction.event_id].prediction, naive[row.prediction.event_id].marks)
    if wanted.rank_by is None:
        times = [row.prediction.predicted_at for row in found]
        assert times == sorted(times, reverse=True)
        assert all(row.score is None for row in found)
    else:
        ranks = [(row.prediction.proba[wanted.rank_by], row.prediction.predicted_at) for row in found]
        assert ranks == sorted(ranks, reverse=True)
        assert [row.score for row in found] == [score for score, _ in ranks]


@settings(deadline=None, max_examples=50)
@given(records(), st.integers(1, 20), st.integers(1000, 1006), st.data())
def test_what_is_removed_is_removed_from_every_index(rows: list[Recent], most: int, time: int, data: st.DataObject) -> None:
    table = RecentTable(most)
    for start in range(0, len(rows), 7):
        add(table, rows[start : start + 7])
    oldest = data.draw(st.none() | st.just((time, "e2")))
    table.drop_before(oldest)
    with table.locked() as execute:
        held = {row[0]: row[1:] for row in execute("SELECT id, event_id, time FROM rows", ()).fetchall()}
        assert [row[0] for row in execute("SELECT id FROM bodies ORDER BY id", ()).fetchall()] == sorted(held)
        assert {row[0] for row in execute("SELECT id FROM scores", ()).fetchall()} <= set(held)
        for word in WORDS:
            match = parse_search(word).match
            assert {row[0] for row in execute("SELECT rowid FROM words WHERE words MATCH ?", (match,)).fetchall()} <= set(held)
        execute("INSERT INTO words(words) VALUES('integrity-check')", ())
    assert table.events == len(held) <= most
    assert all((at, event.encode()) >= (oldest[0], oldest[1].encode()) for event, at in held.values()) if oldest else not held
    if len(rows) <= most and oldest:
        expected = {r.prediction.event_id for r in rows if (r.prediction.predicted_at, r.prediction.event_id) >= oldest}
        assert {event for event, _ in held.values()} == expected


def test_pages_hold_while_predictions_come_and_go() -> None:
    table = RecentTable(most=60)
    add(table, [Recent(prediction=prediction(f"e{n:02}", 1000 + n // 4, proba={"a": 0.5}), marks=Marks()) for n in range(50)])
    for wanted in (Filter(), Filter(rank_by="a"), Filter(search=parse_search("hi"))):
        before = [row.prediction.event_id for row in page(table, wanted, limit=30).rows]
        first = page(table, wanted, limit=10)
        newer = prediction(f"new-{wanted.rank_by}-{wanted.search}", 5000, proba={"a": 0.9})
        assert len(add(table, [Recent(prediction=newer, marks=Marks())])) == 1
        second = page(table, wanted, limit=10, after=first.next)
        third = page(table, wanted, limit=10, after=second.next)
        assert [row.prediction.event_id for found in (first, second, third) for row in found.rows] == before


def test_the_ids_are_the_same_when_the_index_is_filled_again_in_another_order() -> None:
    rows = [Recent(prediction=prediction(f"e{n}", 1000 + n % 3, proba={"a": 0.5}), marks=Marks()) for n in range(30)]
    one, other = RecentTable(100), RecentTable(100)
    add(one, rows)
    add(other, rows[::-1])
    for wanted in (Filter(), Filter(rank_by="a")):
        assert all_pages(one, wanted, 7) == all_pages(other, wanted, 4)


def test_a_crowded_millisecond_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.recent.table.first_id", lambda time, _: time << TIES)
    table = RecentTable(most=1000)
    rows = [Recent(prediction=prediction(f"e{n}", 1000), marks=Marks()) for n in range(250)]
    assert len(add(table, rows[:100])) == 100
    assert len(add(table, rows)) == 150
    assert len(all_pages(table, Filter(since=1000, until=1001), 9)) == 250
    assert all_pages(table, Filter(since=1001), 9) == []


def test_an_event_that_is_here_keeps_its_prediction_and_takes_its_label() -> None:
    table = RecentTable(most=10)
    add(table, [Recent(prediction=prediction("e", 1), marks=Marks())])
    learned = Marks(state=State.TRAINED, truth="z", reviewed=True)
    assert add(table, [Recent(prediction=prediction("e", 2), marks=learned, arrived=7)]) == []
    (row,) = page(table, Filter(), limit=5).rows
    assert (row.prediction.predicted_at, row.marks, row.correct, row.arrived, table.events) == (1, learned, False, 7, 1)
    assert table.set_marks({"e": Marks(state=State.CORRECTED, truth="a", reviewed=True), "unknown": learned}) == 1
    (row,) = page(table, Filter(state=State.CORRECTED, reviewed=True), limit=5).rows
    assert row.correct is True


@pytest.mark.parametrize(
    ("order", "expected"), [("newest", ["e3", "e1", "e0"]), ("oldest", ["e0", "e1", "e3"]), ("uncertain", ["e1", "e3", "e0"])]
)
def test_candidates_are_what_nobody_has_reviewed(order: Order, expected: list[str]) -> None:
    table = RecentTable(most=10)
    sure = [0.9, 0.2, 0.1, 0.5]
    rows = [prediction(f"e{n}", n, proba={"a": p}) for n, p in enumerate(sure)]
    add(table, [Recent(prediction=p, marks=Marks(reviewed=n == 2)) for n, p in enumerate(rows)])
    assert [row.prediction.event_id for row in candidates(table, order=order, limit=9)] == expected
    assert [row.prediction.event_id for row in candidates(table, order=order, limit=1)] == expected[:1]
    assert candidates(table, order=order, limit=9, label="b") == []
    assert [row.prediction.event_id for row in candidates(table, order=order, limit=9, since=3)] == ["e3"]


def test_what_arrived_after_a_position() -> None:
    table = RecentTable(most=10)
    assert span(table) is None
    add(table, [Recent(prediction=prediction(f"e{n}", 10 - n), marks=Marks(), arrived=n) for n in range(6)])
    assert [row.prediction.event_id for row in arrived_after(table, 2, limit=9)] == ["e3", "e4", "e5"]
    assert [row.prediction.event_id for row in arrived_after(table, 2, limit=2)] == ["e4", "e5"]
    assert span(table) == (5, 10)


PLANS = {
    "newest first": (Filter(), False, "SCAN rows"),
    "since": (Filter(since=1000), False, "SEARCH rows USING INTEGER PRIMARY KEY (rowid>?)"),
    "label": (Filter(label="a", min_confidence=0.5), False, "SEARCH rows USING INDEX by_label (label=?)"),
    "label, later": (Filter(label="a", since=1), False, "SEARCH rows USING INDEX by_label (label=? AND rowid>?)"),
    "line": (Filter(line="base"), False, "SEARCH rows USING INDEX by_line (line=?)"),
    "state": (Filter(state=State.WAITING, label="a"), False, "SEARCH rows USING INDEX by_state (state=?)"),
    "reviewed": (Filter(reviewed=True), False, "SEARCH rows USING INDEX by_review (reviewed=?)"),
    "few confidences": (Filter(max_confidence=0.1), True, "SEARCH rows USING INDEX by_confidence (confidence<?)"),
    "search": (Filter(search=Search('"a"')), False, "SCAN words VIRTUAL TABLE INDEX"),
    "rank": (Filter(rank_by="a"), False, "SEARCH scores USING PRIMARY KEY (key=?)"),
}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("after", [None, Place(5 << TIES, 0.5)])
def test_an_index_is_walked_in_its_order(name: str, after: Place | None) -> None:
    wanted, few, expected = PLANS[name]
    query = plan(wanted, 50, after, lambda: few)
    with RecentTable(most=10).locked() as execute:
        steps = [row[3] for row in execute(f"EXPLAIN QUERY PLAN {query.sql}", query.values).fetchall()]
    if after is not None:
        # The place is where the walk begins, too.
        expected = expected.partition(" (")[0].replace("SCAN rows", "SEARCH rows USING INTEGER PRIMARY KEY")
        assert "<" in steps[0] or "by_confidence" in steps[0]
    assert steps[0].startswith(expected)
    assert not [step for step in steps[1:] if step.startswith("SCAN")]
    assert ("USE TEMP B-TREE FOR ORDER BY" in steps) == few


def test_few_confidences_are_looked_up_and_many_are_met_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "FEW", 5)
    table = RecentTable(most=100)
    add(table, [Recent(prediction=prediction(f"e{n}", n, proba={"a": n / 20}), marks=Marks()) for n in range(20)])
    with table.locked() as execute:
        assert queries._few(execute, Filter(min_confidence=0.9))
        assert not queries._few(execute, Filter(min_confidence=0.1, max_confidence=0.8))
    assert [row.prediction.event_id for row in page(table, Filter(min_confidence=0.9), limit=9).rows] == ["e19", "e18"]


TEXTS = [
    "My refund is late",
    "Refunds, please!",
    "今日は東京に行きます",
    "วันนี้ฉันกินข้าวที่บ้าน",
    "안녕하세요 학교에서",
    "हिन्दी में दिन",
    "Café crème",
    "Straße",
    "great 😀!",
    "it's late",
]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("refund", [0]),
        ("REFUND*", [0, 1]),
        ('"is late"', [0]),
        ("late -refund", [9]),
        ('late -"is late"', [9]),
        ("東京", [2]),
        ("京東", []),
        ("กินข้าว", [3]),
        ("학교", [4]),
        ("दिन", [5]),
        ("दन", []),
        ("cafe", [6]),
        (unicodedata.normalize("NFD", "CRÈME"), [6]),
        ("strasse", [7]),
        ("😀", [8]),
        ("it's", [9]),
        ("OR late", []),
        ("NEAR(my late)", []),
    ],
)
def test_words_of_all_scripts_are_found(search: str, found: list[int]) -> None:
    table = RecentTable(most=100)
    add(table, [Recent(prediction=prediction(f"e{n}", n, text=text), marks=Marks()) for n, text in enumerate(TEXTS)])
    rows = page(table, Filter(search=parse_search(search)), limit=50).rows
    assert sorted(row.prediction.predicted_at for row in rows) == found


@settings(deadline=None, max_examples=50)
@given(st.text(st.sampled_from('ab"*-^:(){}+%\\\x00 \n東😀é') | st.characters(codec="utf-8"), max_size=40))
def test_no_search_is_an_error_of_syntax(text: str) -> None:
    table = RecentTable(most=10)
    add(table, [Recent(prediction=prediction("e", 1, text=text), marks=Marks())])
    try:
        search = parse_search(text)
    except InvalidSearch:
        return
    page(table, Filter(search=search), limit=5)
    page(table, Filter(search=search, rank_by="a"), limit=5)


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_a_text_is_found_by_itself(text: str) -> None:
    table = RecentTable(most=10)
    add(table, [Recent(prediction=prediction("e", 1, text=text), marks=Marks())])
    try:
        search = parse_search('"' + text.replace('"', " ") + '"')
    except InvalidSearch:
        return
    assert len(page(table, Filter(search=search), limit=5).rows) == 1, spaced(text)


def test_too_many_words_are_refused() -> None:
    with pytest.raises(InvalidSearch, match="32"):
        parse_search("a " * 33)


@pytest.mark.parametrize("text", ["rubbish", "é☃", "====", "x" * 3000])
def test_what_is_no_cursor(text: str) -> None:
    try:
        assert Place.parse(text) is None
    except InvalidCursor:
        return
    with pytest.raises(InvalidCursor):
        Cursor.parse(text)


@given(st.integers(0, 2**62), st.none() | st.floats(0, 1))
def test_a_place_comes_back(row_id: int, score: float | None) -> None:
    assert Place.parse(Place(row_id, score).text()) == Place(row_id, score)
    assert Place.parse(Cursor(5, b"e").text()) is None


def test_ids_fit_until_the_year_9999() -> None:
    assert 0 < first_id(253_402_300_799_999, "e") < 2**63


def test_readers_and_a_writer_do_not_disturb_each_other() -> None:
    table = RecentTable(most=300)
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            found = [row.prediction.predicted_at for row in page(table, Filter(search=parse_search("hi")), limit=1000).rows]
            if found != sorted(found, reverse=True) or len(found) > 400:
                wrong.append(f"{len(found)} rows")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for start in range(0, 2000, 100):
        add(table, [Recent(prediction=prediction(f"e{n}", n), marks=Marks()) for n in range(start, start + 100)])
    done.set()
    for reader in readers:
        reader.join()
    assert (wrong, table.events) == ([], 300)
