"""Ray, on this machine and on clusters: checks, cost, account, life.

Only this package imports a cloud's SDK, and only where it is used.
"""
