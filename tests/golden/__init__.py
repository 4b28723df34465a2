"""Numbers that the published codes gave, and what both sides need to give them again: weights, inputs, digests."""
