/* SPDX-License-Identifier: GPL-2.0-or-later */
/* syslog(2): kinds, rights. */
// needs: root
#include "native.h"

int main(void)
{
	char text[16];
	SHOW(syslog, 0, NULL, 0);
	SHOW(syslog, 1, NULL, 0);
	SHOW(syslog, 3, NULL, 16);
	SHOW(syslog, 3, text, -1);
	SHOW(syslog, 3, text, 0);
	SHOW(syslog, 8, NULL, 9);
	SHOW(syslog, 8, NULL, 0);
	SHOW(syslog, 99, NULL, 0);
	become(1000);
	SHOW(syslog, 5, NULL, 0);
	SHOW(syslog, 8, NULL, 7);
	SHOW(syslog, 2, text, 16);
	SHOW(syslog, 99, NULL, 0);
	return 0;
}
