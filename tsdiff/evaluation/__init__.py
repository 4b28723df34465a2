"""Scores, tables and pictures of forecasts."""
