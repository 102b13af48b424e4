"""Benchmarks, one command each. They compare in one run, interleaved, and print ratios."""
