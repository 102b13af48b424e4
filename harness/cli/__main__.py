"""`python -m harness.cli`, as clusters' files call it."""

from harness.cli.app import main

if __name__ == "__main__":
    main()
