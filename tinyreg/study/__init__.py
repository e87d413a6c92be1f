"""Subgradient or prox? Methods side by side, solvers side by side, and a walk over λ.

To read in this order: `runs` (what all of them share, and one of them measured), `convergence`
(full-batch solvers), `comparison`, then `walk` and `path` over λ.
"""
