/* SPDX-License-Identifier: GPL-2.0-or-later */
// needs: root
/* Capabilities follow from user ids, and decide what files may be opened. */
#include "native.h"
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/securebits.h>

#define DAC (1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH)

static struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };

static void sets(const char *when)
{
	struct __user_cap_data_struct data[2];

	MUST(capget, &header, data);
	print("%s: effective %x permitted %x inheritable %x\n", when, data[0].effective & (DAC | 1u << CAP_KILL),
	      data[0].permitted & (DAC | 1u << CAP_KILL), data[0].inheritable);
}

static long set(u32 effective, u32 permitted, u32 inheritable)
{
	struct __user_cap_data_struct data[2] = { { effective, permitted, inheritable }, { 0, 0, 0 } };

	return SYS(capset, &header, data);
}

static void in_a_child(void (*work)(void))
{
	int pid = MUST(fork), status;

	if (!pid) {
		work();
		leave(0);
	}
	MUST(wait4, pid, &status, 0, NULL);
}

static void keeps(void)
{
	SHOW(prctl, PR_SET_KEEPCAPS, 1);
	MUST(setuid, 1000);
	sets("kept");
	SHOW(open, "roots", O_RDONLY);
	SAY(set(1u << CAP_DAC_READ_SEARCH, DAC, 0));
	SAY(SYS(open, "roots", O_RDONLY) >= 0);
	SHOW(open, "roots", O_WRONLY);
	SHOW(access, "roots", R_OK);
	SAY(set(DAC, 1u << CAP_DAC_OVERRIDE, 0));
	SAY(set(0, 0, 0));
	SAY(set(0, DAC, 0));
}

static void goes_and_comes(void)
{
	MUST(setresuid, -1, 1000, -1);
	sets("effective 1000");
	SHOW(open, "roots", O_RDONLY);
	MUST(setresuid, -1, 0, -1);
	sets("back");
	MUST(setfsuid, 1000);
	sets("files of 1000");
	SHOW(open, "roots", O_RDONLY);
	MUST(setfsuid, 0);
	sets("files of 0");
}

static void without(void)
{
	SAY(set(1u << CAP_KILL, DAC | 1u << CAP_KILL, 0));
	SHOW(open, "users", O_WRONLY);
	SHOW(chown, "users", 0, 0);
	SHOW(setuid, 5);
	SHOW(chroot, ".");
	SHOW(sethostname, "a", 1);
	SHOW(prctl, PR_CAPBSET_DROP, CAP_KILL);
	SHOW(prctl, PR_SET_SECUREBITS, SECBIT_NOROOT);
	SAY(set(1u << CAP_KILL, 1u << CAP_KILL, 1u << CAP_KILL));
	SHOW(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0);
	SHOW(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0);
	SHOW(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0);
}

static void fixed(void)
{
	SHOW(prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED);
	MUST(setuid, 1000);
	sets("not fixed up");
	SHOW(prctl, PR_SET_SECUREBITS, 0);
	SHOW(prctl, PR_GET_SECUREBITS);
}

int main(void)
{
	MUST(open, "roots", O_CREAT | O_WRONLY, 0600);
	MUST(open, "users", O_CREAT | O_WRONLY, 0644);
	MUST(chown, "users", 1000, 1000);
	MUST(chmod, ".", 0755);
	sets("root");
	in_a_child(keeps);
	in_a_child(goes_and_comes);
	in_a_child(without);
	in_a_child(fixed);
	return 0;
}
