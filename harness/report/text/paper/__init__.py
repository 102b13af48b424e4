"""The tables of a paper as LaTeX, each in a file that a paper can \\input; `files.py` is where to begin reading."""
