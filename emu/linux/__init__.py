"""Words of Linux that everything above speaks: errors, limits, flags, names, wait queues, credentials, tracing."""
