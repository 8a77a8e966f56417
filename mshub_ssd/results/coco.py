"""The classes of COCO 2017, and COCO's own numbers for them."""

from __future__ import annotations

__all__ = ["CATEGORY_IDS", "COCO_CLASSES"]

# The 80 classes in ascending category id.
COCO_CLASSES: tuple[str, ...] = tuple(
    """person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|stop sign|
parking meter|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|backpack|umbrella|handbag|tie|
suitcase|frisbee|skis|snowboard|sports ball|kite|baseball bat|baseball glove|skateboard|surfboard|
tennis racket|bottle|wine glass|cup|fork|knife|spoon|bowl|banana|apple|sandwich|orange|broccoli|carrot|
hot dog|pizza|donut|cake|chair|couch|potted plant|bed|dining table|toilet|tv|laptop|mouse|remote|keyboard|
cell phone|microwave|oven|toaster|sink|refrigerator|book|clock|vase|scissors|teddy bear|hair drier|
toothbrush""".replace("\n", "").split("|")
)

# COCO numbers its 80 classes up to 90, leaving out ten.
CATEGORY_IDS = dict(zip(COCO_CLASSES, sorted({*range(1, 91)} - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}), strict=True))
