"""Tried and clean, by class; what the scripts in this folder print."""

from __future__ import annotations

from collections import Counter


class Tally:
    """Counts cases; keeps what was wrong with those that were not clean."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.findings: list[tuple[str, str]] = []

    def add(self, kind: str, problems: list[str], case: str = "") -> None:
        """One case of a kind; without problems it is clean."""
        self.tried[kind] += 1
        if problems:
            self.findings.append((kind, f"{case}: {'; '.join(problems)}"))

    def table(self) -> str:
        """Markdown, with the findings below."""
        dirty = Counter(kind for kind, _ in self.findings)
        rows = [f"| {k} | {n} | {n - dirty[k]} |" for k, n in self.tried.items()]
        lines = ["| class | tried | clean |", "|---|---|---|", *rows]
        return "\n".join([*lines, *(f"FINDING {kind}: {text}" for kind, text in self.findings)])
