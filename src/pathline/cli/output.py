"""How results look: a table for people, one JSON document for programs."""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

WIDTH = 160  # columns, where the output is not a terminal


def finite(document: Any) -> Any:
    """The document with numbers that JSON does not know (nan, inf) as null."""
    if isinstance(document, dict):
        return {key: finite(value) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [finite(value) for value in document]
    return None if isinstance(document, float) and not math.isfinite(document) else document


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(finite(document), indent=2, ensure_ascii=False))


def print_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: int = 1,
    styles: Sequence[str] = (),
    words_last: bool = False,
) -> None:
    """A table on stdout; the first `left` columns are text, the others numbers, but for the last with `words_last`."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place, head in enumerate(heads):
        text = place < left or (words_last and place == len(heads) - 1)
        table.add_column(head, justify="left" if text else "right", overflow="fold")
    for place, row in enumerate(rows):
        table.add_row(*row, style=styles[place] if styles else None)
    Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False).print(table)


def say(text: str) -> None:
    """A remark for a person watching, on stderr."""
    print(text, file=sys.stderr, flush=True)
