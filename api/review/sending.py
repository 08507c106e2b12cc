"""Sends the labels of reviewers to Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from api.incoming import Outgoing
from api.problems import Problem
from api.publisher import RecordTooLarge
from api.services import Services
from schemas.topics import Topic


def send(has: Services, records: Sequence[Outgoing]) -> None:
    """Write feedback records. Their ids are made of what they are about, so that a request may be repeated when Kafka was away.

    Raises:
        KafkaUnavailable: if that fails; some may be written then.
        Problem: if the broker refuses one for its size.
    """
    if not records:
        return
    try:
        has.publisher.publish(has.settings.topic_prefix + Topic.FEEDBACK, records)
    except RecordTooLarge as error:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{error}; repeat the request without it: that is harmless") from error
