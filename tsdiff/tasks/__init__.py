"""What one trained model is used for, besides forecasts."""
