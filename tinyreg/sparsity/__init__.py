"""Groups of weights that go to zero together, and how sparse a network is."""

from tinyreg.sparsity.measures import (
    active_inputs,
    active_units,
    dead_share,
    exact_zeros,
    near_zeros,
)

__all__ = ["active_inputs", "active_units", "dead_share", "exact_zeros", "near_zeros"]
