/* SPDX-License-Identifier: GPL-2.0-or-later */
/* openat2(2): the size, the unknown bits, and what resolving may do. */
#include "native.h"
#include <linux/openat2.h>

static char big[8192];

int main(void)
{
	struct open_how how = { .flags = O_RDONLY };
	put("file", "x");
	MUST(symlink, "file", "link");
	MUST(mkdir, "dir", 0755);
	SHOW(openat2, AT_FDCWD, "file", &how, sizeof(how));
	SHOW(openat2, AT_FDCWD, "file", &how, sizeof(how) - 1);
	SHOW(openat2, AT_FDCWD, "file", NOWHERE, sizeof(how));
	SHOW(openat2, AT_FDCWD, "file", big, 24);
	SHOW(openat2, AT_FDCWD, "file", big, 4096);
	SHOW(openat2, AT_FDCWD, "file", big, 4097);
	big[100] = 1;
	SHOW(openat2, AT_FDCWD, "file", big, 4096);
	how.mode = 0600;
	SHOW(openat2, AT_FDCWD, "file", &how, sizeof(how));
	how.flags = O_RDWR | O_CREAT;
	SHOW(openat2, AT_FDCWD, "new", &how, sizeof(how));
	how.mode = 010000;
	SHOW(openat2, AT_FDCWD, "new2", &how, sizeof(how));
	how = (struct open_how){ .flags = 1UL << 40 };
	SHOW(openat2, AT_FDCWD, "file", &how, sizeof(how));
	how = (struct open_how){ .flags = O_RDONLY, .resolve = 1 << 10 };
	SHOW(openat2, AT_FDCWD, "file", &how, sizeof(how));
	how.resolve = RESOLVE_NO_SYMLINKS;
	SHOW(openat2, AT_FDCWD, "link", &how, sizeof(how));
	SHOW(openat2, AT_FDCWD, "file", &how, sizeof(how));
	how.resolve = RESOLVE_BENEATH;
	SHOW(openat2, AT_FDCWD, "dir/../file", &how, sizeof(how));
	SHOW(openat2, AT_FDCWD, "..", &how, sizeof(how));
	SHOW(openat2, AT_FDCWD, "/", &how, sizeof(how));
	how.resolve = RESOLVE_IN_ROOT;
	SHOW(openat2, AT_FDCWD, "/file", &how, sizeof(how));
	SHOW(openat2, AT_FDCWD, "../../file", &how, sizeof(how));
	how.resolve = RESOLVE_IN_ROOT | RESOLVE_BENEATH;
	SHOW(openat2, AT_FDCWD, "file", &how, sizeof(how));
	return 0;
}
