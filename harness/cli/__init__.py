"""The `ndcl` command. A folder is a group of verbs, a file is a verb, `app.py` is their table of contents."""

from harness.cli.app import app, main

__all__ = ["app", "main"]
