"""Anomalies: scores of every step, what stands out among them, and faults put in to measure it."""
