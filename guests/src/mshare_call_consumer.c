/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshare_call_consumer: the second process of the worked example of the call
 * interface. mshare_call_donor starts it; see there.
 *
 * Prints (after the donor has made the region):
 *   consumer: the file holds 16 bytes: ok
 *   consumer: the region starts at 0x20000000000
 *   consumer: "written before mshare()"
 *   consumer: "written after mshare()"
 *   consumer: mshare_unlink: ok
 */
#include "mshare_call_pair.h"

int main(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv, (void)envp;
	return consume();
}
