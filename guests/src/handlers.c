/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handlers N SEED: sends itself signals N times and in between, by chance (SEED), changes what becomes of them: other
 * actions, masks and stacks, handlers that send signals, that change what they return to.
 *
 * Prints how many signals came, and sums of what the handlers saw; exit status 0, 1 if a register or a mask was not what
 * it had been, 2 for bad usage.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK_BYTES 65536

static unsigned long state, seen;
static long self;
static int handled, deep;
static int leaves, nests, unblocks, resets;
static char alternate[STACK_BYTES] __attribute__((aligned(4096)));

static unsigned chance(unsigned limit)
{
	state = state * 6364136223846793005 + 1442695040888963407;
	return (state >> 33) % limit;
}

static void check(int right)
{
	if (!right)
		_exit(1);
}

static void handler(int signo, siginfo_t *info, void *context)
{
	ucontext_t *user = context;
	char here;

	handled++;
	check(info->si_signo == signo && info->si_pid == getpid());
	seen = seen * 31 + signo + (&here >= alternate && &here < alternate + STACK_BYTES) * 7;
	if (nests && deep < 3 && !chance(3)) {
		deep++;
		kill(getpid(), SIGUSR1);
		deep--;
	}
	if (unblocks)
		sigdelset(&user->uc_sigmask, SIGUSR2);
	if (leaves)
		user->uc_mcontext.gregs[REG_RAX] = 4711;
}

static void plain(int signo)
{
	volatile double x = handled * 1.5;

	handled++;
	seen = seen * 31 + signo + (x > 1000);
}

static void new_action(int signo)
{
	static const int flags[] = { SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_RESTART };
	struct sigaction action = { .sa_handler = plain };

	if (chance(3))
		action.sa_sigaction = handler, action.sa_flags = SA_SIGINFO;
	for (int n = 0; n < 4; n++)
		if (!chance(n == 2 ? 9 : 3))
			action.sa_flags |= flags[n];
	resets |= action.sa_flags & SA_RESETHAND;
	if (!chance(4))
		sigaddset(&action.sa_mask, SIGUSR2);
	sigaction(signo, &action, NULL);
}

static void new_stack(void)
{
	stack_t stack = { .ss_sp = alternate, .ss_size = STACK_BYTES, .ss_flags = chance(2) ? 0 : SS_DISABLE };

	if (!chance(3))
		stack.ss_flags |= 1 << 31; /* SS_AUTODISARM */
	sigaltstack(&stack, NULL);
}

static void new_mask(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, chance(2) ? SIGUSR1 : SIGUSR2);
	sigprocmask(chance(3) ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

static void child_ends(void)
{
	pid_t child = fork();

	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
}

static void change_something(void)
{
	switch (chance(9)) {
	case 0: new_action(SIGUSR1); break;
	case 1: new_action(SIGUSR2); break;
	case 2: new_stack(); break;
	case 3: new_mask(); break;
	case 4: nests = chance(3) == 0; break;
	case 5: leaves = chance(2); break;
	case 7: unblocks = chance(2); break;
	case 8: child_ends(); break;
	case 6: raise(SIGUSR1); break;
	}
}

/* The result of kill(2), with every register that a handler must leave alone known; from a stack of any depth. */
static long send(int signo, unsigned depth)
{
	volatile char room[512];
	register long rbx asm("rbx") = 1, r12 asm("r12") = 2, r13 asm("r13") = 3, r8 asm("r8") = 4, r9 asm("r9") = 5;
	long result = 62, low = 0;
	double value = 1.25;

	room[0] = 1;
	if (depth)
		return send(signo, depth - 1) + (room[0] - 1);
	asm volatile("movq %[value], %%xmm7\n\tsyscall\n\tmovq %%xmm7, %[low]"
		     : "+a"(result), "+r"(rbx), "+r"(r12), "+r"(r13), "+r"(r8), "+r"(r9), [low] "=&r"(low)
		     : "D"(self), "S"((long)signo), [value] "r"(value)
		     : "rcx", "r11", "memory", "xmm7");
	check(rbx == 1 && r12 == 2 && r13 == 3 && r8 == 4 && r9 == 5 && !memcmp(&low, &value, 8));
	return result;
}

int main(int argc, char **argv)
{
	long number = argc > 2 ? atol(argv[1]) : 0;
	sigset_t none, mask;

	if (argc < 3)
		return 2;
	state = atol(argv[2]) * 7777 + 1;
	self = getpid();
	sigemptyset(&none);
	new_action(SIGUSR1);
	new_action(SIGUSR2);
	signal(SIGCHLD, chance(2) ? SIG_DFL : SIG_IGN);
	for (long n = 0; n < number; n++) {
		int signo = chance(4) ? SIGUSR1 : SIGUSR2;

		if (!chance(12))
			change_something();
		for (int again = chance(9); again > 0; again--) {
			if (resets) {
				resets = 0;
				new_action(SIGUSR1);
				new_action(SIGUSR2);
			}
			seen = seen * 31 + send(signo, chance(12));
		}
		sigprocmask(SIG_SETMASK, NULL, &mask);
		seen = seen * 31 + sigismember(&mask, SIGUSR1) + 2 * sigismember(&mask, SIGUSR2);
	}
	printf("%d signals, %lx\n", handled, seen);
	return 0;
}
