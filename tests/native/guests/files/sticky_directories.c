/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In a sticky directory only the owner of a name, of the directory, and root remove it. */
// needs: root
#include "native.h"

int main(void)
{
	MUST(umask, 0);
	MUST(mkdir, "sticky", 01777);
	MUST(chmod, "sticky", 01777);
	MUST(mkdir, "plain", 0777);
	put("sticky/a", "x");
	put("plain/a", "x");
	put("sticky/b", "x");
	MUST(chown, "sticky/b", 1000, 1000);
	MUST(mkdir, "sticky/d", 0777);
	become(1000);
	SHOW(unlink, "sticky/a");
	SHOW(rename, "sticky/a", "plain/b");
	SHOW(rename, "sticky/b", "sticky/a");
	SHOW(rename, "sticky/b", "sticky/c");
	SHOW(rmdir, "sticky/d");
	SHOW(rename, "sticky/d", "sticky/e");
	SHOW(unlink, "sticky/c");
	SHOW(unlink, "plain/a");
	SHOW(mkdir, "sticky/mine", 0700);
	SHOW(rmdir, "sticky/mine");
	return 0;
}
