"""`eco report`: where readings come from, and how a report is written. The mathematics is in twin.reports."""
