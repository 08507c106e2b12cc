"""The candidates of a refresh that is told nothing else; how they were found is in docs/refresh-training.md."""

from __future__ import annotations

from batch_model.candidates import Candidate
from batch_model.training import Hyper

CANDIDATES = (
    Candidate(name="shuffled", hyper=None, members=8),
    Candidate(name="softmax", hyper=Hyper(), members=6),
    Candidate(name="idf", hyper=Hyper(idf=0.5), members=2),
    Candidate(name="low-rank", hyper=Hyper(rank=32, base=1.0, rate=0.1), members=2),
)
