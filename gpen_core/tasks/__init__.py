"""Tasks: what goes into a network, and how its answer is combined with the crop.

The path of a picture is the same for all of them, see `run`. Tensors only; nothing here knows
files, faces or pictures as a whole.
"""
