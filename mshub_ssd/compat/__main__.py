"""``python -m mshub_ssd.compat SCRIPT [ARGUMENT ...]``: run a script that imports ``mindspore_hub``."""

from __future__ import annotations

from mshub_ssd.compat.running import main

if __name__ == "__main__":
    main()
