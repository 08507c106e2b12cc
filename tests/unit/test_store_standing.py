"""Who serves and who is watched is told without any model: by the same rules as in a replica, which is asked here."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_model import lines
from online_model.models import build
from schemas.log import AnyChange, Command, DropEntry, Origin, PromoteEntry, RefusalEntry, ReleaseEntry, RollbackEntry
from schemas.manifest import DataSpec, Manifest
from store.asking import UnknownLine, command_of, former_line
from store.model_history import ModelHistory
from store.standing import FIRST_LINE, Standing, about, until, what

pytestmark = pytest.mark.unit

NAMES = st.sampled_from(["base", "r1-a", "r2-b", "r3-c"])
MODEL = build("softmax?memory_mib=1")


KINDS = st.sampled_from(
    [
        (ReleaseEntry, {"origin": Origin(), "mode": "serve"}),
        (ReleaseEntry, {"origin": Origin(), "mode": "shadow"}),
        (ReleaseEntry, {"origin": Origin(), "mode": "split", "share": 0.5}),
        (PromoteEntry, {"replaces": "?"}),
        (RollbackEntry, {"origin": Origin(), "replaces": "?"}),
        (DropEntry, {}),
        (RefusalEntry, {"do": "drop"}),
    ]
)


def entry(kind: type[AnyChange], seq: int, line: str, **more: object) -> AnyChange:
    return kind(seq=seq, task="default", time=seq * 1000, line=line, by="ann", why="", **more)  # type: ignore[arg-type]  # what each kind needs


@st.composite
def logs(draw: st.DrawFn) -> list[AnyChange]:
    """Changes as a learner may write them: whatever they say, in whatever order."""
    made: list[AnyChange] = []
    for seq in range(1, draw(st.integers(0, 12)) + 1):
        kind, fields = draw(KINDS)
        made.append(entry(kind, seq, draw(NAMES), **fields))  # type: ignore[arg-type]  # the kinds have their base in common
    return made


@given(logs())
@settings(max_examples=300, deadline=None)
def test_the_rules_are_those_of_a_replica(changes: list[AnyChange]) -> None:
    replica = lines.Lines(MODEL)
    history = ModelHistory("default")
    standing = Standing()
    for change in changes:
        replica.change(change, None)
        history.add(change)
        standing.apply(change)
        assert (standing.serving, standing.watched) == (replica.champion, replica.roles)
        assert standing.serving == history.champion
        assert {name for name, line in standing.lines.items() if line.place == "gone"} <= {known.line for known in history.lines()}
    for time in range(0, 14_000, 500):
        assert Standing.after(until(changes, time)).serving == history.champion_at_time(time)


def test_the_first_line_has_the_name_that_replicas_give_it() -> None:
    assert FIRST_LINE == lines.FIRST_LINE


def test_what_is_told_of_changes() -> None:
    came = entry(ReleaseEntry, 1, "r1-a", origin=Origin(), mode="split", share=0.25)
    up = entry(PromoteEntry, 2, "r1-a", replaces="base")
    back = entry(RollbackEntry, 3, "base", origin=Origin(), replaces="r1-a")
    no = entry(RefusalEntry, 4, "", do="rollback")
    assert [what(change) for change in (came, up, back, no)] == [
        "r1-a serves 25.0% of the events",
        "r1-a promoted, replaces base",
        "rolled back to base from r1-a",
        "rollback of the former line refused",
    ]
    assert about([came, up, back, no], "base") == [up, back]
    assert former_line(Standing.after([came, up])) == "base"
    assert former_line(Standing.after([came, up, back])) is None


def asked(do: str, line: str | None, standing: Standing, manifest: Manifest | None = None, share: float | None = None) -> Command:
    return command_of(do, line, standing, manifest, task="default", command_id="c1", by="ann", share=share)  # type: ignore[arg-type]  # the test names actions


def test_a_command_says_where_the_line_comes_from() -> None:
    made = Manifest(
        task="default", line="r9-z", created_at=1, by="x", why="", origin=Origin(cut_seq=9), specification="softmax", parent=None,
        candidate="lift", parameters={}, metrics={"gain": 0.5}, data=DataSpec(source="log", rows=1, classes=2, fingerprint="f"), gate=None,
    )  # fmt: skip
    standing = Standing.after([entry(ReleaseEntry, 1, "r1-a", origin=Origin(cut_seq=1), mode="serve")])
    assert asked("promote", "r9-z", standing, made).origin == Origin(cut_seq=9)
    assert (asked("promote", "r9-z", standing, made).data, asked("promote", "r9-z", standing, made).metrics) == ("f", {"gain": 0.5})
    assert (asked("promote", "base", standing).do, asked("promote", "base", standing).origin) == ("serve", Origin())
    assert asked("drop", "r1-a", standing).origin is None
    assert (asked("rollback", None, standing).line, asked("rollback", None, standing).origin) == (None, None)
    assert asked("split", "r9-z", standing, made, 0.5).share == 0.5
    with pytest.raises(UnknownLine, match="r9-z"):
        asked("shadow", "r9-z", standing)
