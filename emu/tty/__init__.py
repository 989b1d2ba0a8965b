"""Terminals: the line discipline, pseudo-terminals, and the host's terminal (drivers/tty).  They know no task."""
