"""How windows are drawn: settings, guidance, samplers."""
