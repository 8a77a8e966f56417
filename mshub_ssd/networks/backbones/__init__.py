"""Feature extractors that detectors are built on."""
