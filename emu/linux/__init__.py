"""Definitions of Linux that all other packages use: errors, limits, flags, names, wait queues, credentials, tracing."""
