/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys that edit and end a line: what a reader gets, and what is shown. */
#include "native.h"
#include <asm/ioctls.h>
#include <asm/termbits.h>

static int master, slave;

static void spell(const char *what, const char *data, long size)
{
	print("%s %ld: ", what, size);
	for (long i = 0; i < size; i++) {
		u8 c = data[i];
		if (c >= 32 && c < 127 && c != '\\')
			print("%c", c);
		else
			print("\\%o", c);
	}
	print("%s\n", size < 0 ? errno_name(-size) : "");
}

static void type(const char *keys)
{
	char buffer[256];
	struct timespec soon = { 0, 20000000 };
	int waiting = -1;

	print("%s", "keys\n");
	MUST(write, master, keys, strlen(keys));
	MUST(nanosleep, &soon, NULL);
	spell("shown", buffer, SYS(read, master, buffer, sizeof(buffer)));
	MUST(ioctl, slave, FIONREAD, &waiting);
	SAY(waiting);
	spell("read", buffer, SYS(read, slave, buffer, sizeof(buffer)));
}

int main(void)
{
	int unlock = 0;
	struct termios modes;

	master = MUST(open, "/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
	MUST(ioctl, master, TIOCSPTLCK, &unlock);
	slave = MUST(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK);
	MUST(ioctl, slave, TCGETS, &modes);
	print("%x %x %x %x\n", modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag);
	spell("c_cc", (char *)modes.c_cc, 17);
	type("plain\r");
	type("ab\177c\n");
	type("one two\027three\n");
	type("a\tb\177\177c\n");
	type("kill\025me\n");
	type("lit\026\003\n");
	type("re\022print\n");
	type("end\004");
	type("\004");
	type("not yet");
	type("\n");
	type("\001\033\n");
	modes.c_lflag &= ~(ECHO | ICANON);
	modes.c_cc[VMIN] = 1;
	MUST(ioctl, slave, TCSETS, &modes);
	type("raw\177\004\r");
	modes.c_iflag = 0;
	modes.c_oflag = 0;
	MUST(ioctl, slave, TCSETSW, &modes);
	type("raw\r");
	SHOW(write, slave, "a\nb", 3);
	type("x");
	SHOW(ioctl, slave, TCSETS, NOWHERE);
	SHOW(ioctl, slave, TCGETS, NOWHERE);
	SHOW(ioctl, slave, TCFLSH, 7);
	SHOW(ioctl, slave, TCXONC, 7);
	return 0;
}
