"""Public sets, and sets of one's own, as folders of clean and noisy pairs that `speech.data.pairs` reads."""
