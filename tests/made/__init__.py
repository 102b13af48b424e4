"""Builders of what tests look at: records, sweeps, stores, images, models."""
