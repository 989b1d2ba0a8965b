/* SPDX-License-Identifier: GPL-2.0-or-later */
/* uname(2), sethostname(2), setdomainname(2), sysinfo(2): arguments. */
// needs: root
#include "native.h"
#include <sys/utsname.h>

int main(void)
{
	struct utsname name;
	u64 info[16];
	SHOW(uname, &name);
	print("%s %s\n", name.sysname, name.machine);
	SHOW(uname, NOWHERE);
	SHOW(sysinfo, info);
	SHOW(sysinfo, NOWHERE);
	SHOW(sethostname, "x", -1);
	SHOW(sethostname, "x", 65);
	SHOW(sethostname, NOWHERE, 1);
	SHOW(setdomainname, "x", -1);
	SHOW(setdomainname, NOWHERE, 65);
	SHOW(setdomainname, NOWHERE, 1);
	MUST(uname, &name);
	SHOW(sethostname, name.nodename, strlen(name.nodename));
	SHOW(setdomainname, name.domainname, strlen(name.domainname));
	become(1000);
	SHOW(sethostname, "x", -1);
	SHOW(setdomainname, "x", 1);
	return 0;
}
