"""The tables of one task's recent predictions: one SQLite database in memory for each task, so no table has a column `task`.

rows: one for each prediction that Redis keeps.
    id            by time: `predicted_at << 15`, plus a hash of the event id within the millisecond. "ORDER BY id DESC" is newest first in
                  every index and in the full-text search, without sorting, and a place in it holds while rows come and go.
    event_id      unique
    time          predicted_at, epoch ms
    label         served label, '' if the model knew no class
    confidence    its probability, 0 if there is none
    line, seq     the model that predicted
    state         of the label that counts, NULL if there is none
    truth         the learned label, NULL if none was
    correct       whether truth = label, NULL without a truth
    reviewed      1 if someone gave a label or verdict
    marked_wrong  1 if someone's verdict is "wrong", without a label
    arrived       place in Redis's stream of arrivals (ms << 20 | number), 0 if not known any more
    reviews       what reviewers said (`online_model.review.opinions.Review`), as JSON; NULL if none said anything
bodies: id, body: the prediction as JSON, as Redis has it (a text is cut after `TEXT_SHOWN` characters). Apart from `rows`, so that a filter
    walks over little memory.
scores: key (`class_key(label)`), score, id: each class of which a prediction gives the probability (`proba_top` of them).
words: full-text index of the texts, by id; see `store.recent.words`. It keeps no text: to remove a row from it, its text is given again.

What walks newest first picks the index of its most telling filter, and stops when the page is full.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from store.recent.words import TOKENIZER

TABLES: Final = f"""
CREATE TABLE rows(
    id INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, time INTEGER NOT NULL, label TEXT NOT NULL, confidence REAL NOT NULL,
    line TEXT NOT NULL, seq INTEGER NOT NULL, state TEXT, truth TEXT, correct INTEGER, reviewed INTEGER NOT NULL,
    marked_wrong INTEGER NOT NULL, arrived INTEGER NOT NULL, reviews BLOB
);
CREATE INDEX by_label ON rows(label);
CREATE INDEX by_line ON rows(line);
CREATE INDEX by_confidence ON rows(confidence);
CREATE INDEX by_state ON rows(state) WHERE state IS NOT NULL;
CREATE INDEX by_review ON rows(reviewed) WHERE reviewed = 1;
CREATE INDEX by_arrival ON rows(arrived);
CREATE INDEX by_reviewer ON rows(id) WHERE reviews IS NOT NULL;
CREATE TABLE bodies(id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE scores(key INTEGER, score REAL, id INTEGER, PRIMARY KEY(key, score, id)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(text, content='', columnsize=0, tokenize="{TOKENIZER}");
"""
"""`by_…`: what they index, and the id that every index of SQLite ends with."""


def open_database() -> sqlite3.Connection:
    """Return an empty database in memory, for several threads, one at a time."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = MEMORY")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.executescript(TABLES)
    return connection
