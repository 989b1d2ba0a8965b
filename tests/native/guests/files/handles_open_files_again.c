/* SPDX-License-Identifier: GPL-2.0-or-later */
/* name_to_handle_at(2) and open_by_handle_at(2). */
// needs: root
#include "native.h"

int main(void)
{
	struct { u32 bytes; int type; u8 rest[128]; } handle = { 0, 0, { 0 } };
	int mount, dir = MUST(open, ".", O_RDONLY);
	char text[8] = "";
	put("file", "text");
	SHOW(name_to_handle_at, AT_FDCWD, "file", &handle, &mount, 0);
	SAY(handle.bytes > 0);
	SHOW(name_to_handle_at, AT_FDCWD, "file", &handle, &mount, 0);
	SHOW(name_to_handle_at, AT_FDCWD, "file", &handle, &mount, 1);
	SHOW(name_to_handle_at, AT_FDCWD, "file", &handle, NOWHERE, 0);
	SHOW(name_to_handle_at, AT_FDCWD, "file", NOWHERE, &mount, 0);
	int fd = SHOW(open_by_handle_at, dir, &handle, O_RDONLY);
	SHOW(read, fd, text, 8);
	print("%s\n", text);
	SHOW(open_by_handle_at, 99, &handle, O_RDONLY);
	SHOW(open_by_handle_at, dir, NOWHERE, O_RDONLY);
	MUST(close, fd);
	MUST(unlink, "file");
	SHOW(open_by_handle_at, dir, &handle, O_RDONLY);
	handle.bytes = 129;
	SHOW(open_by_handle_at, dir, &handle, O_RDONLY);
	SHOW(name_to_handle_at, AT_FDCWD, ".", &handle, &mount, 0);
	become(1000);
	SHOW(open_by_handle_at, dir, &handle, O_RDONLY);
	return 0;
}
