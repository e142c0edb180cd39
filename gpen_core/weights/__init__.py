"""Weights files: which exist, where they are looked for, how they are fetched and verified."""
