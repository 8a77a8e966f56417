"""``python -m mshub_ssd``: the ``mshub`` command where it is not on the path."""

from __future__ import annotations

from mshub_ssd.cli import main

if __name__ == "__main__":
    main()
