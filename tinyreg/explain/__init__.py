"""One forward and one backward pass, written out for a person: formula, shapes, numbers.

Read `explanation` (what `explain` returns, and the example that can be worked by hand), then its
sections: `sample`, `passes`, `penalty`, `steps`. `onepass` is what they are written from;
`weights` reads a network that was written by hand. `page` is the same to go through: `sums` say
where each number comes from, `drawing` shows the network, and `sliders` what is at their `stops`.
"""
