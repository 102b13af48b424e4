"""AWS: what is wrong with a cluster's YAML or the account it would run in, and what the account needs."""
