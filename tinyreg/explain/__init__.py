"""One forward and one backward pass, written out."""
