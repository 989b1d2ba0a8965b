/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setsockopt(2) and getsockopt(2): levels, sizes, values. */
#include "native.h"
#include <sys/socket.h>

int main(void)
{
	int s = MUST(socket, AF_UNIX, SOCK_STREAM, 0), value = 1, length = 4;
	struct timeval t = { 1, 1000000 };
	SHOW(setsockopt, s, SOL_SOCKET, SO_PASSCRED, &value, 4);
	value = -1;
	SHOW(getsockopt, s, SOL_SOCKET, SO_PASSCRED, &value, &length);
	print("%d %d\n", value, length);
	SHOW(getsockopt, s, SOL_SOCKET, SO_TYPE, &value, &length);
	print("%d\n", value);
	SHOW(getsockopt, s, SOL_SOCKET, SO_DOMAIN, &value, &length);
	print("%d\n", value);
	SHOW(getsockopt, s, SOL_SOCKET, SO_ERROR, &value, &length);
	print("%d\n", value);
	length = 1;
	SHOW(getsockopt, s, SOL_SOCKET, SO_ACCEPTCONN, &value, &length);
	SAY(length);
	length = -1;
	SHOW(getsockopt, s, SOL_SOCKET, SO_TYPE, &value, &length);
	length = 4;
	SHOW(getsockopt, s, SOL_SOCKET, 999, &value, &length);
	SHOW(getsockopt, s, 77, 1, &value, &length);
	SHOW(getsockopt, s, SOL_SOCKET, SO_TYPE, NOWHERE, &length);
	SHOW(getsockopt, s, SOL_SOCKET, SO_TYPE, &value, NOWHERE);
	SHOW(getsockopt, 99, SOL_SOCKET, SO_TYPE, &value, &length);
	SHOW(getsockopt, 1, SOL_SOCKET, SO_TYPE, &value, &length);
	SHOW(setsockopt, s, SOL_SOCKET, SO_PASSCRED, &value, 3);
	SHOW(setsockopt, s, SOL_SOCKET, SO_PASSCRED, NOWHERE, 4);
	SHOW(setsockopt, s, SOL_SOCKET, SO_PASSCRED, &value, -1);
	SHOW(setsockopt, s, SOL_SOCKET, SO_TYPE, &value, 4);
	SHOW(setsockopt, s, SOL_SOCKET, 999, &value, 4);
	SHOW(setsockopt, s, 77, 1, &value, 4);
	SHOW(setsockopt, s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	SHOW(setsockopt, 99, SOL_SOCKET, SO_PASSCRED, &value, 4);
	SHOW(setsockopt, 1, SOL_SOCKET, SO_PASSCRED, &value, 4);
	return 0;
}
