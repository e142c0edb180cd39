"""How good restored faces are: fidelity to the truth, likeness of the person, naturalness.

`catalogue` lists the metrics; those that look through a network read its weights from local files
and are left out, with a hint, where these are absent.
"""
