"""A small typed client of the REST API: `Client`. Synchronous; of Millrace it needs the types in `schemas` only."""

from client.calls import ApiError, Unreachable
from client.client import Client

__all__ = ["ApiError", "Client", "Unreachable"]
