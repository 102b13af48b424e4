"""Runs of NDCL: sweeps of studies of trials on Ray, searched by Optuna, tracked by MLflow."""
