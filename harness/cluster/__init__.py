"""Clusters: what their YAML says and whether it is right, what they cost, what an account needs, and Ray's commands.

Only this package imports a cloud's SDK, and only where it is used.
"""
