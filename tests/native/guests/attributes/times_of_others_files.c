/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may set times to now, and to something else. */
// needs: root
#include "native.h"

int main(void)
{
	struct timespec t[2] = { { 5, 6 }, { 7, 8 } };
	MUST(umask, 0);
	put("writable", "x");
	put("readable", "x");
	MUST(chmod, "writable", 0666);
	become(1000);
	SHOW(utimensat, AT_FDCWD, "writable", NULL, 0);
	SHOW(utimensat, AT_FDCWD, "writable", t, 0);
	SHOW(utimensat, AT_FDCWD, "readable", NULL, 0);
	SHOW(utimensat, AT_FDCWD, "readable", t, 0);
	t[0].tv_nsec = t[1].tv_nsec = UTIME_NOW;
	SHOW(utimensat, AT_FDCWD, "writable", t, 0);
	t[0].tv_nsec = UTIME_OMIT;
	SHOW(utimensat, AT_FDCWD, "writable", t, 0);
	SHOW(utime, "readable", NULL);
	SHOW(utimes, "readable", NULL);
	return 0;
}
