"""What people walk: commands typed as README and docs say, in a fresh copy of the tracked files, with the defaults.

`guides.py` reads the commands from the Markdown blocks, `clone.py` types them. Only `--set` may be appended, to shrink
sizes. `not_run.py` names the blocks that no journey runs, with the reasons.
"""
