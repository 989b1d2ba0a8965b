"""Sockets (net/): AF_UNIX, and AF_INET and AF_INET6 on a loopback of the machine's own."""
