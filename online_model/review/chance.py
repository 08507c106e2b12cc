"""What chance decides about an event, by hash of its id: the same for whoever asks, whatever any model says of the event.

Each question has a salt of its own, so that no answer tells another one, nor which line serves the event (`online_model.arms`).
"""

from __future__ import annotations

from online_model.arms import place_of


def place_in_random(event_id: str) -> float:
    """Return the event's place in the order of the random slice, 0 ≤ place < 1: who is below the share belongs to it, smallest first."""
    return place_of(f"review random {event_id}")


def is_random(event_id: str, share: float) -> bool:
    """Whether the event belongs to the random slice. With a larger share the members of a smaller one stay.

    >>> is_random("e1", 0.0), is_random("e1", 1.0)
    (False, True)
    """
    return place_in_random(event_id) < share


def asks_more(event_id: str, share: float) -> bool:
    """Whether the event is one of those that several reviewers are asked about."""
    return place_of(f"review again {event_id}") < share


def tie_of(event_id: str) -> float:
    """Return what decides between events that are worth the same."""
    return place_of(f"review tie {event_id}")
