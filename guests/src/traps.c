/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * traps: exceptions and signal frames at the edges: what one process does to its
 * registers and stacks ends that process with a signal, and nobody else notices.
 *
 * Prints:
 *   in, then exit_group in one block: SIGSEGV
 *   in, then a division by zero in one block: SIGSEGV
 *   in, then a store through NULL in one block: SIGSEGV 13 0
 *   the registers at in: 1234 5678
 *   int $3 afterwards: SIGTRAP
 *   frame at rsp 0: SIGSEGV
 *   frame at rsp 64: SIGSEGV
 *   frame at rsp 800: SIGSEGV
 *   frame at rsp 8000000000000000: SIGSEGV
 *   frame at rsp ffffffffffffffff: SIGSEGV
 *   sigreturn at rsp ffffffffffffff00: SIGSEGV
 *   sigreturn with fpstate ffffffffffffff00: SIGSEGV
 *   alternate stack at fffffffffffff000: SIGSEGV
 *   alternate stack that the second frame leaves: SIGSEGV
 *   SS_AUTODISARM: 0, in the handler disarmed 2, set anew 0, after it armed 80000000 at the same place: ok
 *   SS_ONSTACK: 0, flags now 0
 *   flags 3: EINVAL
 */
#include "guest.h"

#define SS_ONSTACK 1
#define SS_AUTODISARM (1U << 31)
#define CHILD(pid) for (pid = must(sys_fork(), "fork"); pid == 0; sys_exit_group(7))

static void result(const char *what, long pid)
{
	int status = wait_for(pid);

	if (killed_by(status))
		print("%s: %s\n", what, signal_name(killed_by(status)));
	else
		print("%s: exit %d\n", what, exited(status));
}

static u8 *code;

static void run(const u8 *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		code[i] = bytes[i];
	((void (*)(void))code)();
}

static void shows_exception(int signo, struct siginfo *info, struct ucontext *context)
{
	(void)info;
	print("in, then a store through NULL in one block: %s %lu %lx\n", signal_name(signo), context->trap, context->error);
	print("the registers at in: %lx %lx\n", context->rbx, context->rcx);
	sys_exit_group(0);
}

static void ports(void)
{
	/* in al,dx; xor edi,edi; mov eax,231; syscall */
	static const u8 leaves[] = { 0xec, 0x31, 0xff, 0xb8, 231, 0, 0, 0, 0x0f, 0x05 };
	/* in al,dx; xor ecx,ecx; div ecx */
	static const u8 divides[] = { 0xec, 0x31, 0xc9, 0xf7, 0xf1 };
	/* mov ebx,0x1234; mov ecx,0x5678; in al,dx; xor ebx,ebx; xor ecx,ecx; mov [rbx],ecx */
	static const u8 stores[] = { 0xbb, 0x34, 0x12, 0, 0, 0xb9, 0x78, 0x56, 0, 0, 0xec, 0x31, 0xdb, 0x31, 0xc9, 0x89, 0x0b };
	static const u8 breaks[] = { 0xcc };
	long pid;

	code = (u8 *)must(sys_mmap(0, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			  "mmap");
	CHILD(pid)
		run(leaves, sizeof(leaves));
	result("in, then exit_group in one block", pid);
	CHILD(pid)
		run(divides, sizeof(divides));
	result("in, then a division by zero in one block", pid);
	CHILD(pid) {
		on_signal(SIGSEGV, shows_exception, SA_SIGINFO, 0);
		run(stores, sizeof(stores));
	}
	wait_for(pid);
	CHILD(pid)
		run(breaks, sizeof(breaks));
	result("int $3 afterwards", pid);
}

static void leaves(int signo)
{
	(void)signo;
	sys_exit_group(5);
}

/* Sends itself SIGUSR1 with this stack pointer. */
static void signal_at(u64 rsp)
{
	long pid = sys_getpid();

	__asm__ volatile("mov %0, %%rsp; mov $62, %%eax; mov $10, %%esi; syscall; mov $231, %%eax; syscall"
			 :
			 : "r"(rsp), "D"(pid)
			 : "rax", "rsi", "rcx", "r11", "memory");
}

static void frames(void)
{
	static const u64 places[] = { 0, 0x64, 0x800, 1UL << 63, ~0UL };
	long pid;

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		CHILD(pid) {
			on_signal(SIGUSR1, leaves, 0, 0);
			signal_at(places[i]);
		}
		print("frame at rsp %lx: %s\n", places[i], signal_name(killed_by(wait_for(pid))));
	}
	CHILD(pid)
		__asm__ volatile("mov $-256, %%rsp; mov $15, %%eax; syscall" : : : "rax", "rcx", "r11", "memory");
	result("sigreturn at rsp ffffffffffffff00", pid);
}

static void loses_fpstate(int signo, struct siginfo *info, struct ucontext *context)
{
	(void)signo;
	(void)info;
	context->fpstate = (void *)-256L;
}

static struct sigstack stack;

static void arm(void *base, u64 size, unsigned int flags, const char *what)
{
	struct sigstack new = { base, (int)flags, size };

	must(sys_sigaltstack(&new, NULL), what);
}

/* The first time goes on near the end of the alternate stack, where no frame has room. */
static void sends_again(int signo)
{
	static int times;

	(void)signo;
	if (times++ == 0)
		signal_at((u64)stack.base + 256);
	sys_exit_group(5);
}

static void alternate_stacks(void)
{
	u8 *memory = anonymous(64UL << 10, MAP_PRIVATE);
	long pid;

	CHILD(pid) {
		on_signal(SIGUSR1, loses_fpstate, SA_SIGINFO, 0);
		sys_kill(sys_getpid(), SIGUSR1);
	}
	result("sigreturn with fpstate ffffffffffffff00", pid);
	CHILD(pid) {
		arm((void *)-4096L, 1UL << 20, 0, "sigaltstack");
		on_signal(SIGUSR1, leaves, SA_ONSTACK, 0);
		sys_kill(sys_getpid(), SIGUSR1);
	}
	result("alternate stack at fffffffffffff000", pid);
	CHILD(pid) {
		stack.base = memory + (32UL << 10);
		arm(stack.base, 16384, 0, "sigaltstack");
		on_signal(SIGUSR1, sends_again, SA_ONSTACK | SA_NODEFER, 0);
		sys_kill(sys_getpid(), SIGUSR1);
	}
	result("alternate stack that the second frame leaves", pid);
}

static long armed_anew;
static struct sigstack in_handler;

static void rearms(int signo)
{
	(void)signo;
	sys_sigaltstack(NULL, &in_handler);
	stack = (struct sigstack){ in_handler.base, 0, 0 };
	struct sigstack other = { (void *)(1UL << 40), 0, 65536 };
	armed_anew = sys_sigaltstack(&other, NULL);
}

static void autodisarm(void)
{
	u8 *memory = anonymous(64UL << 10, MAP_PRIVATE);
	struct sigstack new = { memory, (int)SS_AUTODISARM, 64UL << 10 }, old;
	long armed = sys_sigaltstack(&new, NULL), wrong;

	on_signal(SIGUSR1, rearms, SA_ONSTACK, 0);
	sys_kill(sys_getpid(), SIGUSR1);
	sys_sigaltstack(NULL, &old);
	print("SS_AUTODISARM: %ld, in the handler disarmed %x, set anew %ld, after it armed %x at the same place: %s\n", armed,
	      in_handler.flags, armed_anew, old.flags, old.base == memory && old.size == 64UL << 10 ? "ok" : "WRONG");
	new.flags = SS_ONSTACK;
	armed = sys_sigaltstack(&new, NULL);
	sys_sigaltstack(NULL, &old);
	print("SS_ONSTACK: %ld, flags now %x\n", armed, old.flags);
	new.flags = SS_ONSTACK | SS_DISABLE;
	wrong = sys_sigaltstack(&new, NULL);
	print("flags 3: %s\n", result_name(wrong));
}

int main(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv, (void)envp;
	ports();
	frames();
	alternate_stacks();
	autodisarm();
	return 0;
}
