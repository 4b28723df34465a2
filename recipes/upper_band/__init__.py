"""How the networks above 8 kHz were trained: `recipes/train_upper_band.py` and `recipes/train_extension.py`."""
