"""MLflow: a study is a parent run, a trial a child run. Only this package imports MLflow. Start at `tracker.py`."""
