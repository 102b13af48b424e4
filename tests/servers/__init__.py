"""Servers that tests start, and the ports and browsers that they need."""
