/* SPDX-License-Identifier: GPL-2.0-or-later */
/* capget(2) and capset(2). */
// needs: root
#include "native.h"
#include <linux/capability.h>

int main(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	SHOW(capget, &head, data);
	SHOW(capget, &head, NULL);
	head.pid = 1 << 30;
	SHOW(capget, &head, data);
	head.pid = -1;
	SHOW(capget, &head, data);
	head.pid = 0;
	head.version = 0;
	SHOW(capget, &head, data);
	print("%x\n", head.version);
	head.version = 0;
	SHOW(capget, &head, NULL);
	SHOW(capget, NOWHERE, data);
	SHOW(capget, &head, NOWHERE);
	become(1000);
	SHOW(capget, &head, data);
	print("%x %x %x\n", data[0].effective, data[0].permitted, data[0].inheritable);
	SHOW(capset, &head, data);
	data[0].effective = 1;
	SHOW(capset, &head, data);
	data[0].permitted = 1;
	SHOW(capset, &head, data);
	data[0].effective = data[0].permitted = 0;
	data[0].inheritable = 1;
	SHOW(capset, &head, data);
	head.pid = 1;
	SHOW(capset, &head, data);
	SHOW(capset, &head, NOWHERE);
	SHOW(capset, NOWHERE, data);
	head.version = 5;
	SHOW(capset, &head, data);
	return 0;
}
