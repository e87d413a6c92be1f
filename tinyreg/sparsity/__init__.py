"""Groups of weights that become zero together, and how sparse a network is."""

from tinyreg.sparsity.groups import GroupLasso
from tinyreg.sparsity.measures import (
    active_inputs,
    active_units,
    dead_share,
    near_zero_share,
    zero_share,
)

__all__ = [
    "GroupLasso",
    "active_inputs",
    "active_units",
    "dead_share",
    "near_zero_share",
    "zero_share",
]
