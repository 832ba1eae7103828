"""What-if questions on the twin."""
