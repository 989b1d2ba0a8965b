/* SPDX-License-Identifier: GPL-2.0-or-later */
/* name_to_handle_at(2): a name that is not there, a descriptor that is none. */
#include "native.h"

int main(void)
{
	struct { u32 bytes; int type; u8 rest[128]; } handle = { 0, 0, { 0 } };
	int mount;
	put("file", "x");
	SHOW(name_to_handle_at, AT_FDCWD, "missing", &handle, &mount, 0);
	SHOW(name_to_handle_at, AT_FDCWD, NOWHERE, &handle, &mount, 0);
	SHOW(name_to_handle_at, AT_FDCWD, "", &handle, &mount, 0);
	SHOW(name_to_handle_at, 99, "file", &handle, &mount, 0);
	SHOW(name_to_handle_at, AT_FDCWD, "file/x", &handle, &mount, 0);
	return 0;
}
