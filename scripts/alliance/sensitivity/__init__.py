"""Sensitivity of the answers to the choices behind them: scenarios side by side, and the multiverse of all combinations of choices."""
