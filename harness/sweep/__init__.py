"""The run of a sweep: `run.py` starts Ray Tune, `tune.py` hands its events to `controller.py`, which decides."""
