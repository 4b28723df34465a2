"""What the bundled forecaster was trained on, and how: `recipes/train_default_forecaster.py`."""
