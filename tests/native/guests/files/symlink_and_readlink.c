/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Symbolic links keep any text; readlink(2) cuts it short without a zero. */
#include "native.h"

int main(void)
{
	char text[8] = "-------";
	SHOW(symlink, "target", "link");
	SHOW(symlink, "target", "link");
	SHOW(symlink, "", "empty");
	SHOW(symlink, "target", "");
	SHOW(symlink, "target", "missing/x");
	SHOW(symlink, "target", "new/");
	SHOW(symlink, NOWHERE, "x");
	SHOW(symlink, "target", NOWHERE);
	SHOW(readlink, "link", text, 8);
	print("%s\n", text);
	text[3] = 0;
	SHOW(readlink, "link", text, 3);
	print("%s\n", text);
	SHOW(readlink, "link", text, 0);
	SHOW(readlink, "link", text, -1);
	SHOW(readlink, "link", NOWHERE, 6);
	put("file", "x");
	SHOW(readlink, "file", text, 8);
	SHOW(readlink, ".", text, 8);
	SHOW(readlink, "missing", text, 8);
	SHOW(readlink, "missing", text, 0);
	SHOW(readlink, "", text, 8);
	SHOW(readlink, NOWHERE, text, 8);
	SHOW(readlink, "link/", text, 8);
	return 0;
}
