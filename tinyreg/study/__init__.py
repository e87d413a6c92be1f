"""Subgradient or prox? Methods side by side, solvers side by side, paths over λ."""
