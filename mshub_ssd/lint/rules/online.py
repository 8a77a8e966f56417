"""Rules about what the network says. They run only when it was asked; see `mshub_ssd.cli.validate_online`."""

from __future__ import annotations
