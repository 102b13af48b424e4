"""Searches ndcl's trainings on Ray.

Read in this order: config (what a user writes), plan (what follows from it), records (what happened), state (where it
stands), search (which values next), trials (what a worker process runs), sweep (the run of it all); storage, tracking,
report, cluster and terminal serve these; cli is the command.
"""
