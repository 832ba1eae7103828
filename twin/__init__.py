"""What would happen: physics, signals and forecasts; arrays in, arrays out, no I/O but reading files."""
