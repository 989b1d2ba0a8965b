"""The ``unimmu`` command."""
