/* SPDX-License-Identifier: GPL-2.0-or-later */
/* open(2) of what is not there, is there already, or is no directory. */
#include "native.h"

int main(void)
{
	SHOW(open, "missing", O_RDONLY);
	SHOW(open, "missing/x", O_RDWR | O_CREAT, 0644);
	SHOW(open, "", O_RDONLY);
	SHOW(open, NOWHERE, O_RDONLY);
	SHOW(open, ".", O_RDWR);
	put("file", "text\n");
	SHOW(open, "file", O_RDWR | O_CREAT | O_EXCL, 0644);
	SHOW(open, "file/x", O_RDONLY);
	SHOW(open, "file/", O_RDONLY);
	SHOW(open, "file", O_RDONLY | O_DIRECTORY);
	return 0;
}
