"""`ndcl cluster`: clusters before, while and after a sweep runs on them. `app.py` lists the verbs."""
