"""`Tuned`: what a training came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mshub_ssd.terminal import counted

__all__ = ["Tuned"]


@dataclass(frozen=True, eq=False)
class Tuned:
    """A detector that was trained; ``print`` says how good it is.

    Attributes:
        card: Its card, which `load` and `detect` take.
        checkpoint: Its weights.
        sha256: Their digest.
        classes: Its classes.
        kept: Those that the model knew before.
        steps: How many steps were taken.
        best: The step whose weights these are.
        metrics: What was measured with them, as `Evaluation.metrics` has it; empty where nothing was.
        per_class: Name, objects and figures of each class.
        points: Step, mAP@0.5 and mAP of each time it was measured.
        seconds: How long it took, interruptions left out.
        notes: What was left out of the data.
    """

    card: Path
    checkpoint: Path
    sha256: str
    classes: tuple[str, ...]
    kept: tuple[str, ...]
    steps: int
    best: int
    metrics: Mapping[str, float]
    per_class: tuple[dict[str, Any], ...] = field(repr=False)
    points: tuple[tuple[int, float, float], ...]
    seconds: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "card": str(self.card),
            "checkpoint": str(self.checkpoint),
            "sha256": self.sha256,
            "classes": list(self.classes),
            "kept": list(self.kept),
            "steps": self.steps,
            "best": self.best,
            "metrics": dict(self.metrics),
            "per_class": list(self.per_class),
            "points": [{"step": step, "mAP@0.5": half, "mAP": mean} for step, half, mean in self.points],
            "seconds": round(self.seconds, 1),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path) -> Tuned:
        """From what `to_dict` gave; the files are in this folder."""
        return cls(
            card=folder / Path(content["card"]).name,
            checkpoint=folder / Path(content["checkpoint"]).name,
            sha256=str(content["sha256"]),
            classes=tuple(content["classes"]),
            kept=tuple(content["kept"]),
            steps=int(content["steps"]),
            best=int(content["best"]),
            metrics=dict(content["metrics"]),
            per_class=tuple(content["per_class"]),
            points=tuple((one["step"], one["mAP@0.5"], one["mAP"]) for one in content["points"]),
            seconds=float(content["seconds"]),
            notes=tuple(content["notes"]),
        )

    def __str__(self) -> str:
        lines = [f"{self.card}: {counted(len(self.classes), 'class', 'classes')}, {counted(self.steps, 'step')}"]
        if self.metrics:
            lines.append(
                f"mAP@0.5 {self.metrics['mAP@0.5']:.4f}, mAP@[.5:.95] {self.metrics['mAP']:.4f} after step {self.best}"
            )
            lines += [
                f"  {row['name']}: {row['AP@0.5']:.4f} of {counted(row['objects'], 'object')}" for row in self.per_class
            ]
        return "\n".join(lines)
