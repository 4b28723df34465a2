"""What forecasters have in a folder besides their model, or in place of it: names of files."""

AUTO = "auto.json"
"""What `tsdiff.automatic.AutoPredictor` writes."""
ENSEMBLE = "ensemble.json"
"""What `tsdiff.ensemble.EnsemblePredictor` writes."""
KIND, SAMPLING, HORIZON = "gluonts-config.json", "sampling.json", "predictor.json"
"""What GluonTS knows a kind of forecaster by; how forecasts are drawn; how many steps."""
ALL = (AUTO, ENSEMBLE, KIND, SAMPLING, HORIZON)
