"""`ndcl data`: what concerns data sets on disk. `app.py` lists the verbs."""
