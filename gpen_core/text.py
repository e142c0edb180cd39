"""Text that comes from a file, made fit to be shown: one line, no control characters, bounded.

Keys, metadata, names in graphs and the findings of other libraries pass through here before they
are put into an error, a log line or what `gpen inspect` prints. A file can so neither move a
terminal's cursor, nor recolor it, nor add a line that looks like the program's own.
"""

from __future__ import annotations

from .files import shown

LIMIT = 160
"""Characters shown of one piece of text."""


def printable(value: object, limit: int = LIMIT) -> str:
    r"""Text on one line, with everything that is no visible character escaped.

    Args:
        value: any text; of another object its type is said, because its `repr` may be endless.
        limit: characters kept; a longer text ends in "...".

    >>> printable("MIT\nformat: \x1b[31mred")
    'MIT\\nformat: \\x1b[31mred'
    """
    if isinstance(value, bool | float | None):
        text = str(value)
    elif isinstance(value, int):
        # Python refuses to write numbers of more than some thousand digits.
        text = str(value) if value.bit_length() <= 256 else "a number of very many digits"
    elif isinstance(value, str):
        text = value[: limit + 1]
    else:
        text = f"a {type(value).__name__}"
    line = shown(text)
    return line if len(line) <= limit else line[: max(limit - 3, 0)] + "..."


def quoted(value: object, limit: int = LIMIT) -> str:
    """`printable` between quotation marks, as a key or a value of a file is named.

    Example:
        >>> quoted("MIT"), quoted(7)
        ("'MIT'", '7')
    """
    return f"'{printable(value, limit)}'" if isinstance(value, str) else printable(value, limit)


def counted(count: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "face"), counted(2, "face")
        ('1 face', '2 faces')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def first_line(error: object, limit: int = LIMIT) -> str:
    """The first line of what another library says about a file, without the full stop.

    Example:
        >>> first_line(ValueError("not a zip file.\\nIt starts with ..."))
        'not a zip file'
    """
    # Cut before it is split: some of these texts hold a whole file.
    lines = str(error)[: 20 * limit].strip().splitlines()
    return printable(lines[0].rstrip(". "), limit) if lines else type(error).__name__
