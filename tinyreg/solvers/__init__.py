"""Full-batch solvers, and how far from the optimum a point is."""
