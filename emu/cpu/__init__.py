"""A CPU around one Uc."""
