"""New model cards: what can be known is filled in from the checkpoint, the rest is asked for.

A `Draft` takes answers to `QUESTIONS`, from options or from a person; it looks at the checkpoint, finds the network it
fits, and writes the card.
"""

from __future__ import annotations

from mshub_ssd.drafting.draft import Draft
from mshub_ssd.drafting.questions import LEFT_OUT, QUESTIONS, Question

__all__ = ["LEFT_OUT", "QUESTIONS", "Draft", "Question"]
