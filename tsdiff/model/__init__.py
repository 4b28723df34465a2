"""What a TSDiff model is: settings, network, weights."""
