"""Reports of what meters counted: key figures of ISO/IEC 30134, EU 2024/1364, GHG Protocol, SCI and ASHRAE 90.4."""
