"""A randomised fault campaign against the real loop, guard and store, on a small hall that exists in memory."""
