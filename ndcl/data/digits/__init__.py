"""The embedded data set: digits in four styles, drawn on first use. `python -m ndcl.data.digits.sheet` shows them."""
