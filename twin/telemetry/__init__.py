"""A building's recorded telemetry: read it, find out what its points are, clean it, and name its faults."""
