"""JSON for programs: the report as it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mshub_ssd.lint.report import Report

__all__ = ["render"]


def render(report: Report) -> str:
    """One JSON object, in ASCII, so that it is the same in every locale."""
    return json.dumps(report.to_dict(), indent=2, allow_nan=False)
