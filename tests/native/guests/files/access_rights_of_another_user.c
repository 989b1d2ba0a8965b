/* SPDX-License-Identifier: GPL-2.0-or-later */
/* access(2) asks with the real ids; a directory without x hides what is in it. */
// needs: root
#include "native.h"

int main(void)
{
	MUST(mkdir, "closed", 0700);
	put("closed/f", "x");
	put("file", "x");
	MUST(chmod, "file", 0640);
	MUST(mkdir, "open", 0755);
	SHOW(access, "file", R_OK | W_OK);
	SHOW(access, "file", X_OK);
	SHOW(access, "closed", X_OK);
	become(1000);
	SHOW(access, "file", F_OK);
	SHOW(access, "file", R_OK);
	SHOW(access, "file", W_OK);
	SHOW(access, "closed", F_OK);
	SHOW(access, "closed/f", F_OK);
	SHOW(access, "closed/missing", F_OK);
	SHOW(access, "open", R_OK | X_OK);
	SHOW(access, "open", W_OK);
	SHOW(open, "file", O_RDONLY);
	SHOW(open, "open/new", O_RDWR | O_CREAT, 0600);
	SHOW(mkdir, "open/new", 0700);
	SHOW(unlink, "file");
	SHOW(rename, "file", "open/file");
	SHOW(chdir, "closed");
	SHOW(rmdir, "closed");
	SHOW(link, "file", "other");
	SHOW(symlink, "file", "other");
	SHOW(mknod, "other", S_IFREG | 0600, 0);
	SHOW(chmod, "file", 0666);
	SHOW(truncate, "file", 0);
	return 0;
}
