"""What ``unimmu run`` is made of: from the command line to a machine, what is shown and written, and how it ends."""
