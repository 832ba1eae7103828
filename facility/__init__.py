"""What exists, what was measured, what may be written: the only layer that may write to a device."""
