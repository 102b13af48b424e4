"""A comparison as one page that needs nothing else. Start at `page.py`."""
