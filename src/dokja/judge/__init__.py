"""Measuring models: likelihood, exact match, baselines, intervals."""
