"""What a speech model is: front end, network, process, settings."""
