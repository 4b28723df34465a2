"""Experiments as YAML files state them: presets, training, tuning."""
