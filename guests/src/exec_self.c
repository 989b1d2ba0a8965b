/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec_self: what execve(2) gives a program, and what it takes away. The first
 * program leaves traces of itself everywhere and then executes itself; the second
 * looks at its arguments and for the traces. Both check the stack and the
 * auxiliary vector that the kernel made.
 *
 * Prints one line a check, each "...: ok", and the arguments and environment of
 * the second program. Exit status 1 if one was WRONG.
 */
#include "guest.h"

#define LEFT_BEHIND 0x10000000UL /* where the first program maps a page */
#define FD_KEPT 10
#define FD_CLOSED 11

static volatile u64 variable = 7;
static volatile u64 zero;

/* The part of an ELF header that leads to the program headers. */
struct elf_header {
	u8 ident[16];
	u16 type, machine;
	u32 version;
	u64 entry, phoff, shoff;
	u32 flags;
	u16 ehsize, phentsize, phnum;
};
extern const struct elf_header __ehdr_start __attribute__((visibility("hidden")));

/* The auxiliary vector stands behind the environment. */
static u64 *auxiliary_vector(char **envp)
{
	while (*envp)
		envp++;
	return (u64 *)(envp + 1);
}

static u64 auxiliary(char **envp, u64 type)
{
	for (u64 *entry = auxiliary_vector(envp); entry[0] != AT_NULL; entry += 2)
		if (entry[0] == type)
			return entry[1];
	return 0;
}

/* Lets the kernel read an address for us: it answers EFAULT where we would get a signal. */
static int is_mapped(u64 address)
{
	int fds[2];
	long n;

	must(sys_pipe2(fds, 0), "pipe2");
	n = sys_write(fds[1], (void *)address, 1);
	sys_close(fds[0]);
	sys_close(fds[1]);
	return n == 1;
}

static void check_start(char **envp)
{
	const struct elf_header *elf = &__ehdr_start;
	const u8 *random = (const u8 *)auxiliary(envp, AT_RANDOM);
	u8 any = 0;

	check("the stack pointer was a multiple of 16", (u64)guest_stack % 16 == 0);
	check("AT_PAGESZ is 4096", auxiliary(envp, AT_PAGESZ) == PAGE_SIZE);
	check("AT_PHDR points to the program headers", auxiliary(envp, AT_PHDR) == (u64)elf + elf->phoff);
	check("AT_PHENT and AT_PHNUM are those of the file",
	      auxiliary(envp, AT_PHENT) == elf->phentsize && auxiliary(envp, AT_PHNUM) == elf->phnum);
	check("AT_ENTRY is _start", auxiliary(envp, AT_ENTRY) == (u64)_start);
	for (int i = 0; random && i < 16; i++)
		any |= random[i];
	check("AT_RANDOM points to 16 bytes", any != 0);
	check("AT_UID is what getuid says", auxiliary(envp, AT_UID) == (u64)sys_getuid());
	check("AT_SECURE is 0", auxiliary(envp, AT_SECURE) == 0);
	check("AT_EXECFN is a path", auxiliary(envp, AT_EXECFN) && *(char *)auxiliary(envp, AT_EXECFN));
	check("data is as in the file, and bss is zero", variable == 7 && zero == 0);
}

/* Writes a number in decimal and returns where it begins. */
static char *decimal(u64 value, char end[21])
{
	char *p = end + 20;

	*p = 0;
	do
		*--p = '0' + value % 10;
	while (value /= 10);
	return p;
}

static void ignore(void)
{
}

static int first(char **argv)
{
	char pid[21], heap_end[21];
	char *new_argv[] = { "exec_self", "second", "", "two words", decimal(sys_getpid(), pid), NULL, NULL };
	char *new_envp[] = { "GUEST=exec_self", "EMPTY=", NULL };
	u64 end = sys_brk(0);
	int fds[2];
	long error;

	must(sys_mmap(LEFT_BEHIND, PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), "mmap");
	*(volatile u64 *)LEFT_BEHIND = 1;
	check("the page is mapped before execve", is_mapped(LEFT_BEHIND));
	check("brk moves", sys_brk(end + 4 * PAGE_SIZE) == end + 4 * PAGE_SIZE);
	new_argv[5] = decimal(end + 4 * PAGE_SIZE, heap_end);
	variable = 8;
	zero = 9;
	on_signal(SIGUSR1, ignore, 0, 0);
	on_signal(SIGUSR2, SIG_IGN, 0, 0);
	must(sys_pipe2(fds, O_CLOEXEC), "pipe2");
	must(sys_dup2(fds[0], FD_KEPT), "dup2"); /* the copy does not have the flag */
	must(sys_dup2(fds[0], FD_CLOSED), "dup2");
	must(sys_fcntl(FD_CLOSED, F_SETFD, FD_CLOEXEC), "fcntl");

	print("execve of nothing: %s\n", result_name(sys_execve("/no/such/program", new_argv, new_envp)));
	print("execve of a directory: %s\n", result_name(sys_execve("/", new_argv, new_envp)));
	error = sys_execve("/proc/self/exe", new_argv, new_envp);
	if (error == -ENOENT) /* no /proc */
		error = sys_execve(argv[0], new_argv, new_envp);
	die("execve of myself", -error);
}

static int second(int argc, char **argv, char **envp)
{
	struct sigaction usr1, usr2;

	for (int i = 0; i < argc - 2; i++)
		print("argv[%d] \"%s\"\n", i, argv[i]);
	for (int i = 0; envp[i]; i++)
		print("envp[%d] \"%s\"\n", i, envp[i]);
	check("argv ends with NULL", argv[argc] == NULL);
	check_start(envp);

	check("the process is the same", atou64(argv[4]) == (u64)sys_getpid());
	check("the mapping is gone", !is_mapped(LEFT_BEHIND));
	check("the heap is gone", !is_mapped(atou64(argv[5]) - 1));
	must(sys_rt_sigaction(SIGUSR1, NULL, &usr1), "rt_sigaction");
	must(sys_rt_sigaction(SIGUSR2, NULL, &usr2), "rt_sigaction");
	check("a handled signal is back to its default", usr1.handler == SIG_DFL);
	check("an ignored signal is still ignored", usr2.handler == SIG_IGN);
	check("a file descriptor is kept", sys_fcntl(FD_KEPT, F_GETFD, 0) == 0);
	check("a close-on-exec file descriptor is closed", sys_fcntl(FD_CLOSED, F_GETFD, 0) == -EBADF);
	return guest_wrong != 0;
}

int main(int argc, char **argv, char **envp)
{
	if (argc == 6 && !strcmp(argv[1], "second"))
		return second(argc, argv, envp);
	check_start(envp);
	return first(argv);
}
