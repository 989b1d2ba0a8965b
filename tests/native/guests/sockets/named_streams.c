/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bind(2), listen(2), connect(2), accept4(2) of AF_UNIX names. */
#include "native.h"
#include <sys/socket.h>
#include <sys/un.h>

int main(void)
{
	struct sockaddr_un a = { AF_UNIX, "name" }, missing = { AF_UNIX, "missing" }, plain = { AF_UNIX, "plain" }, got;
	int length = sizeof(got);
	put("plain", "x");
	int s = MUST(socket, AF_UNIX, SOCK_STREAM, 0), c = MUST(socket, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	SHOW(listen, s, 1);
	SHOW(accept, s, NULL, NULL);
	SHOW(bind, s, &a, sizeof(a));
	SHOW(bind, s, &missing, sizeof(missing));
	SHOW(bind, c, &a, sizeof(a));
	SHOW(bind, c, &a, 1);
	SHOW(bind, c, NOWHERE, sizeof(a));
	SHOW(bind, c, &a, 200);
	SHOW(bind, 99, &a, sizeof(a));
	SHOW(bind, 1, &a, sizeof(a));
	SHOW(connect, c, &a, sizeof(a));
	SHOW(listen, 99, 1);
	SHOW(listen, 1, 1);
	SHOW(listen, s, 1);
	SHOW(connect, c, &missing, sizeof(missing));
	SHOW(connect, c, &plain, sizeof(plain));
	SHOW(connect, c, NOWHERE, sizeof(a));
	SHOW(connect, 99, &a, sizeof(a));
	SHOW(connect, 1, &a, sizeof(a));
	SHOW(connect, c, &a, sizeof(a));
	SHOW(connect, c, &a, sizeof(a));
	SHOW(getpeername, s, &got, &length);
	int n = SHOW(accept4, s, &got, &length, SOCK_CLOEXEC);
	print("%d %d\n", got.sun_family, length);
	SHOW(accept4, s, NULL, NULL, 1);
	SHOW(accept4, 99, NULL, NULL, 0);
	SHOW(accept4, 1, NULL, NULL, 0);
	SHOW(accept, c, NULL, NULL);
	length = sizeof(got);
	SHOW(getsockname, n, &got, &length);
	print("%d %s\n", length, got.sun_path);
	length = 3;
	SHOW(getpeername, c, &got, &length);
	SAY(length);
	length = -1;
	SHOW(getsockname, n, &got, &length);
	SHOW(getsockname, 99, &got, &length);
	SHOW(getsockname, n, &got, NOWHERE);
	length = sizeof(got);
	SHOW(getpeername, c, NOWHERE, &length);
	SHOW(getpeername, 99, &got, &length);
	int d = MUST(socket, AF_UNIX, SOCK_STREAM, 0);
	MUST(connect, d, &a, sizeof(a));
	SHOW(accept, s, &got, &length);
	SHOW(fcntl, n, F_GETFD);
	return 0;
}
