"""One forward and one backward pass, written out for a person: formula, shapes, numbers.

Read `explanation` (what `explain` returns, and the example that can be worked by hand), then its
sections: `sample`, `passes`, `penalty`, `steps`. `onepass` is what they are written from;
`weights` reads a network that was written by hand.
"""
