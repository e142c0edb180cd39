"""`gpen evaluate`: damage faces with a known answer, restore them, measure what came back.

The model stands beside two others that cost nothing, in the same run on the same faces: the
damaged picture as it is, and the damaged picture sharpened.
"""
