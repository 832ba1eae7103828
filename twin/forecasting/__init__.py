"""The learned carbon forecast: features known at the time of issue, boosted trees, adaptive bands, and its backtest."""
