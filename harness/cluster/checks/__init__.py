"""What is wrong with a cluster's YAML, the account or the machines, before it costs anything. Start at `check.py`."""
