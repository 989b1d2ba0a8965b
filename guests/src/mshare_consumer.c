/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshare_consumer: the second process of the worked example of the file
 * interface. mshare_donor starts it; see there.
 *
 * Prints (after the donor has made the region):
 *   consumer: the region has 2 units
 *   consumer: the window is aligned to the unit: ok
 *   consumer: the first unit says "Some random shared text"
 */
#include "mshare_pair.h"

int main(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv, (void)envp;
	return consume();
}
