"""`python -m batch_model`: the refresh as a program. `millrace` starts it; exit codes as there: 0 done, 1 not done, 2 the user must act."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from batch_model import data_program, refresh_program, registry_program
from batch_model.cases import CasesError
from batch_model.data import DataError
from batch_model.folder import AlreadyRefreshing
from batch_model.matrix import TooLarge
from schemas.settings import SettingsError
from store.commands import NoAnswer
from store.connect import KafkaUnavailable
from store.labelled_files import SourceError
from store.model_log import ModelUnavailable

INTERRUPTED = 130
USER_ERRORS = (AlreadyRefreshing, CasesError, DataError, KafkaUnavailable, ModelUnavailable, SettingsError, SourceError, TooLarge)
"""Whoever runs the program must act on these; the message says how."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    parser = argparse.ArgumentParser(prog="batch_model", description="Retrain a task's model in batch.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    refresh_program.add_parser(commands)
    data_program.add_parser(commands)
    registry_program.add_parser(commands)
    args = parser.parse_args(arguments)
    try:
        return int(args.func(args))
    except USER_ERRORS as error:
        return _said(error, 2)
    except OSError as error:
        # A full disk, a folder of somebody else: what was begun is taken up when it is mended.
        return _said(error, 2)
    except (NoAnswer, refresh_program.RefreshError) as error:
        return _said(error, 1)
    except KeyboardInterrupt:
        return INTERRUPTED


def _said(error: Exception, code: int) -> int:
    for line in str(error).splitlines():
        print(f"millrace: {line}", file=sys.stderr)  # noqa: T201 - a program talks to its user
    return code


if __name__ == "__main__":
    sys.exit(main())
