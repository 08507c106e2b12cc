"""`millrace data`: files of labelled texts, split and fetched."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from stack import data_fetch, data_split
from stack.public_sets import PUBLIC_SETS


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    actions = subparsers.add_parser("data", help="split files of labelled texts, fetch public ones").add_subparsers(
        required=True, metavar="ACTION"
    )
    split = actions.add_parser("split", help="make train, validation and test parts", description=data_split.__doc__)
    split.add_argument("file", type=Path, metavar="FILE", help="JSON Lines or CSV (also .gz) with text, label, and optionally ts")
    split.add_argument("--output", type=Path, metavar="DIR", help="folder of the parts (default: FILE-parts beside the file)")
    split.add_argument(
        "--by",
        choices=("time", "random", "hash"),
        default="time",
        help="the newest for the test; at random; or by hash, equal texts in one part (default: %(default)s)",
    )
    split.add_argument(
        "--parts",
        type=data_split.shares,
        default=(0.8, 0.1, 0.1),
        metavar="T,V,T",
        help="shares of train, validation and test (default: 0.8,0.1,0.1)",
    )
    split.add_argument("--seed", type=int, default=0, metavar="N", help="of `random` and `hash` (default: %(default)s)")
    split.set_defaults(func=data_split.run)
    fetch = actions.add_parser("fetch", help="download a public set from its own source", description=data_fetch.__doc__)
    fetch.add_argument("name", nargs="?", metavar="NAME", help=f"one of {', '.join(PUBLIC_SETS)}; without it they are listed")
    fetch.add_argument("--output", type=Path, metavar="DIR", help="where it is kept (default: millrace/data in the user's data home)")
    fetch.add_argument("--source", metavar="URL", help="a mirror, with the same files below it")
    fetch.set_defaults(func=data_fetch.run)
