"""Which values come next: Optuna's samplers and pruners by ask-and-tell, and populations.

Start at `study_search.py`.
"""
