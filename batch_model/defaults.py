"""The candidates of a refresh that is told nothing else; how they were found is in docs/refresh-training.md."""

from __future__ import annotations

from batch_model.candidates import Candidate
from batch_model.training import Hyper

CANDIDATES = (
    Candidate(name="softmax", hyper=Hyper(batch=32, epochs=4, dropout=0.3), members=4),
    Candidate(name="idf", hyper=Hyper(batch=32, epochs=4, idf=0.5), members=2),
    Candidate(name="low-rank", hyper=Hyper(batch=32, epochs=4, rank=32, base=1.0, rate=0.1), members=2),
)
