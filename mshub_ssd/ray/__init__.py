"""Lakes of pictures on many machines: detectors and classifiers for Ray Data, and runs that can be taken up again.

`Detector` and `Classifier` are classes for `ray.data.Dataset.map_batches`; `run` is ``mshub detect --ray``. Ray is
imported when one of them is used, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mshub_ssd.lazy import exports

if TYPE_CHECKING:
    from mshub_ssd.ray.looking import Classifier, Detector
    from mshub_ssd.ray.running import Summary, run

__all__ = ["Classifier", "Detector", "Summary", "run"]

__getattr__ = exports(
    __name__, {"Classifier": "looking", "Detector": "looking", "Summary": "running", "run": "running"}
)
