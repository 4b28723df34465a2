"""What the estimator and the predictor say and keep: keywords of GluonTS, saved settings."""
