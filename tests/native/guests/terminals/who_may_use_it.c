/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A controlling terminal: how a session gets it, what the background may not do, keys, and a hangup. */
#include "native.h"
#include <asm/ioctls.h>
#include <asm/termbits.h>

static int master, slave;

static void pass(long ms)
{
	struct timespec time = { 0, ms * 1000000 };

	MUST(nanosleep, &time, NULL);
}

static void ignore(int signo)
{
	struct { u64 handler, flags, restorer, mask; } action = { 1, 0, 0, 0 };

	MUST(rt_sigaction, signo, &action, NULL, 8);
}

static void how(const char *what, int pid)
{
	int status;

	MUST(wait4, pid, &status, WUNTRACED, NULL);
	if ((status & 0xff) == 0x7f)
		print("%s: stopped by %s\n", what, signal_name(status >> 8));
	else if (status & 0x7f)
		print("%s: killed by %s\n", what, signal_name(status & 0x7f));
	else
		print("%s: exit %d\n", what, status >> 8);
}

static int job(void)
{
	int pid = MUST(fork);

	if (!pid)
		MUST(setpgid, 0, 0);
	return pid;
}

static void leader(void)
{
	char byte;
	int pid, group, self;
	struct termios modes;

	self = MUST(setsid);
	SHOW(open, "/dev/tty", O_RDWR);
	SHOW(ioctl, slave, TIOCSCTTY, 0);
	SHOW(ioctl, slave, TIOCSCTTY, 0);
	MUST(ioctl, slave, TIOCGPGRP, &group);
	SAY(group == self);
	MUST(ioctl, slave, TIOCGSID, &group);
	SAY(group == self);
	group = 99999999;
	SHOW(ioctl, slave, TIOCSPGRP, &group);
	group = -1;
	SHOW(ioctl, slave, TIOCSPGRP, &group);
	if (!(pid = job())) {
		SYS(read, slave, &byte, 1);
		leave(1);
	}
	how("read", pid);
	MUST(kill, pid, SIGKILL);
	how("read", pid);
	if (!(pid = job())) {
		ignore(SIGTTIN);
		SHOW(read, slave, &byte, 1);
		SHOW(write, slave, "w", 1);
		leave(2);
	}
	how("ignores SIGTTIN", pid);
	MUST(ioctl, slave, TCGETS, &modes);
	modes.c_lflag |= TOSTOP;
	MUST(ioctl, slave, TCSETS, &modes);
	if (!(pid = job())) {
		SYS(write, slave, "w", 1);
		leave(3);
	}
	how("TOSTOP", pid);
	MUST(kill, pid, SIGKILL);
	how("TOSTOP", pid);
	ignore(SIGTTOU);
	if (!(pid = job())) {
		pass(1000);
		leave(4);
	}
	pass(20);
	SHOW(ioctl, slave, TIOCSPGRP, &pid);
	MUST(write, master, "\032", 1);
	how("Ctrl-Z", pid);
	MUST(kill, pid, SIGCONT);
	MUST(write, master, "\003", 1);
	how("Ctrl-C", pid);
	SHOW(ioctl, slave, TIOCNOTTY);
	SHOW(ioctl, slave, TIOCGPGRP, &group);
	SHOW(open, "/dev/tty", O_RDWR);
	leave(0);
}

int main(void)
{
	int unlock = 0, pid;

	master = MUST(open, "/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
	MUST(ioctl, master, TIOCSPTLCK, &unlock);
	slave = MUST(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	SHOW(ioctl, slave, TIOCSCTTY, 0);
	pid = MUST(fork);
	if (!pid)
		leader();
	how("leader", pid);
	pid = MUST(fork);
	if (!pid) {
		char byte;
		MUST(setsid);
		ignore(SIGHUP);
		MUST(close, master);
		MUST(ioctl, slave, TIOCSCTTY, 0);
		pass(300);
		SHOW(read, slave, &byte, 1);
		SHOW(write, slave, "w", 1);
		SHOW(ioctl, slave, TIOCGPGRP, &unlock);
		SHOW(ioctl, slave, TIOCSPGRP, &unlock);
		SHOW(open, "/dev/tty", O_RDWR);
		leave(0);
	}
	pass(100);
	MUST(close, slave);
	MUST(close, master);
	how("hung up", pid);
	return 0;
}
