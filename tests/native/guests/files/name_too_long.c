/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A name has at most 255 bytes and a path 4095. */
#include "native.h"

static char name[300], path[5000];

int main(void)
{
	memset(name, 'n', 256);
	name[256] = 0;
	SHOW(open, name, O_RDONLY | O_CREAT, 0644);
	SHOW(mkdir, name, 0755);
	SHOW(access, name, 0);
	name[255] = 0;
	SHOW(open, name, O_RDONLY);
	SHOW(mkdir, name, 0755);
	SHOW(rmdir, name);
	memset(path, '/', sizeof(path));
	path[4096] = 0;
	SHOW(access, path, 0);
	path[4095] = 0;
	SHOW(access, path, 0);
	memset(path, 'x', 4096);
	SHOW(chdir, path);
	SHOW(symlink, path, "link");
	path[4095] = 0;
	SHOW(symlink, path, "link");
	path[4094] = 0;
	SHOW(unlink, "link");
	return 0;
}
