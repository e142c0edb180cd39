"""Faces to learn from and to measure on: which ones, how they are cut out, how they are damaged."""
