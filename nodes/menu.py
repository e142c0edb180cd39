"""Menus whose entries are known by more than their label."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Menu(list[str]):
    """The entries that are offered; `in` also takes what a saved workflow may still say.

    The host refuses an entry that is not in its menu, and names that widget alone. A label changes
    when its file has been downloaded, so the menu knows an entry by its meaning.

    Args:
        entries: what is shown.
        known: whether an entry that is not shown means something all the same; the host's copies
            for its pages need not know.
    """

    def __init__(
        self, entries: Iterable[str] = (), known: Callable[[str], bool] = lambda entry: False
    ) -> None:
        super().__init__(entries)
        self._known = known

    def __contains__(self, entry: object) -> bool:
        return super().__contains__(entry) or (isinstance(entry, str) and self._known(entry))
