"""Single-shot detectors: configuration, anchors, box coding, necks, heads, the model and its losses.

`config`, `anchors` and `boxes` need NumPy only; everything else imports MindSpore.
"""
