"""One forward and one backward pass, written out for a person: formula, shapes, numbers.

Read `explanation` (what `explain` returns), then its sections in their order: `forward`,
`backward`, `penalty`, `steps`. `onepass` is what they are written from, `difference` judges the
gradients, `formulas` holds the formulas of activations, losses and penalties, and `hand` the
example that can be worked by hand.
"""
