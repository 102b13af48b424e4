"""What a worker process runs: one training, alone or on several workers. Start at `trial.py`."""
