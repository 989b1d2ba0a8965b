/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SIOCGIFINDEX, NAME, FLAGS, MTU, HWADDR, ADDR, NETMASK: of lo and of devices that are none. */
#include "net.h"
#include <linux/if.h>

static void ask(int fd, int command, const char *name, int number)
{
	struct ifreq request = { .ifr_ifindex = number };
	u8 *bytes = (u8 *)&request.ifr_ifru;

	memcpy(request.ifr_name, name, strlen(name) + 1);
	print("%x of \"%s\"", command, name);
	long result = show("", SYS(ioctl, fd, command, &request));
	if (!failed(result)) {
		print("  %s:", request.ifr_name);
		for (int i = 0; i < 8; i++)
			print(" %x", bytes[i]);
		print("\n");
	}
}

int main(void)
{
	static const int commands[] = { SIOCGIFINDEX, SIOCGIFFLAGS, SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFADDR,
					SIOCGIFNETMASK, SIOCGIFTXQLEN, SIOCGIFMETRIC, 0x89ff };
	int inet = MUST(socket, AF_INET, SOCK_DGRAM, 0), local_ = MUST(socket, AF_UNIX, SOCK_STREAM, 0);

	for (u32 i = 0; i < COUNT(commands); i++) {
		ask(inet, commands[i], "lo", 0);
		ask(inet, commands[i], "none", 0);
		ask(local_, commands[i], "lo", 0);
	}
	ask(inet, SIOCGIFNAME, "", 1);
	ask(inet, SIOCGIFNAME, "", 99999);
	SHOW(ioctl, inet, SIOCGIFINDEX, NOWHERE);
	SHOW(ioctl, inet, 0x5401, NOWHERE);
	return 0;
}
