"""The numbers of a comparison, from records alone."""
