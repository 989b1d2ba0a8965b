"""The larger demonstrations of ``unimmu demo``."""
