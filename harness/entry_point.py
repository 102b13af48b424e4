"""The console script: `ndcl`, stopped without a traceback also while its modules are imported."""

import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        from harness.cli import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
