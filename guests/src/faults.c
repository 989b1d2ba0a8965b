/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * faults [regs]: every kind of fault a program can make, and what the signal
 * handler is told: the signal, its si_code, si_addr as a distance from the
 * address that is to be expected, and the same for the instruction pointer.
 *   read_unmapped: SIGSEGV SEGV_MAPERR address+0 rip+0
 * "regs" adds the trap number, error code and CR2 that the frame holds. Then
 * follow checks of signal delivery, "...: ok" each. Exit status 1 if one was WRONG.
 *
 * faults kill NAME: makes one fault without a handler, and so dies of its signal.
 * faults list: the names.
 */
#include "guest.h"

#define NON_CANONICAL 0x8000000000001000UL /* with 48 and with 57 address bits */
#define KERNEL_HALF 0xffff900000001000UL

/*
 * The faulting instructions, each as a function of one address. In assembler, so
 * that the address of the instruction itself is known. The first three fault at
 * their first instruction, or, for jump, where it goes to.
 */
__asm__(".text\n"
	"load:	mov (%rdi), %rax\n"
	"	ret\n"
	"store:	mov %rdi, (%rdi)\n"
	"	ret\n"
	"jump:	jmp *%rdi\n"
	"divide_by_zero:\n"
	"	xor %edx, %edx\n"
	"	mov $1, %eax\n"
	"	xor %ecx, %ecx\n"
	"div_at:	div %ecx\n"
	"	ret\n"
	"divide_overflow:\n"
	"	mov $0x80000000, %eax\n"
	"	cltd\n"
	"	mov $-1, %ecx\n"
	"idiv_at:	idiv %ecx\n"
	"	ret\n"
	"illegal:	ud2\n"
	"breakpoint:	int3\n"
	"after_int3:	ret\n"
	"privileged:	hlt\n"
	"	ret\n"
	"push_there:\n"
	"	mov %rdi, %rsp\n"
	"push_at:	push %rax\n"
	"	ud2\n");

typedef void access(u64 address);
#define HIDDEN __attribute__((visibility("hidden")))
extern HIDDEN access load, store, jump, divide_by_zero, divide_overflow, illegal, breakpoint,
	privileged, push_there;
extern HIDDEN const u8 div_at[], idiv_at[], after_int3[], push_at[];

/*
 * guarded(instruction, address) calls the instruction and returns 0, or 1 if
 * recover() brought it back here: recover() lets the handler return to
 * `guarded_recovered`, with the stack pointer that guarded() had. Calls may nest.
 */
int guarded(access *instruction, u64 address);
u64 guarded_sp __attribute__((used));
extern HIDDEN const u8 guarded_recovered[];

__asm__(".text\n"
	"guarded:\n"
	"	push %rbx\n"
	"	push %rbp\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	push guarded_sp(%rip)\n"
	"	mov %rsp, guarded_sp(%rip)\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %rdi\n"
	"	call *%rax\n"
	"	xor %eax, %eax\n"
	"	jmp 1f\n"
	"guarded_recovered:\n"
	"	mov $1, %eax\n"
	"1:	pop guarded_sp(%rip)\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbp\n"
	"	pop %rbx\n"
	"	ret\n");

/* What the last handler was told. */
static struct {
	int signo, code;
	u64 address, rip, trap, error, cr2;
} seen;

static void recover(int signo, struct siginfo *info, struct ucontext *context)
{
	seen.signo = signo;
	seen.code = info->code;
	seen.address = info->address;
	seen.rip = context->rip;
	seen.trap = context->trap;
	seen.error = context->error;
	seen.cr2 = context->cr2;
	context->rip = (u64)guarded_recovered;
	context->rsp = guarded_sp;
}

static const char *code_name(int signo, int code)
{
	if (code == SI_KERNEL)
		return "SI_KERNEL";
	if (signo == SIGSEGV && code == SEGV_MAPERR)
		return "SEGV_MAPERR";
	if (signo == SIGSEGV && code == SEGV_ACCERR)
		return "SEGV_ACCERR";
	if (signo == SIGBUS && code == BUS_ADRERR)
		return "BUS_ADRERR";
	if (signo == SIGFPE && code == FPE_INTDIV)
		return "FPE_INTDIV";
	if (signo == SIGILL && code == ILL_ILLOPN)
		return "ILL_ILLOPN";
	return "another code";
}

/* ---- the places ---- */

static u64 hole; /* a page without a mapping, between two pages that have one */
static u64 read_only, was_written, was_mapped, no_access, data, past_file;

static u64 map_page(int prot)
{
	return must(sys_mmap(0, PAGE_SIZE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");
}

static void map_places(void)
{
	int file = scratch_file();

	read_only = map_page(PROT_READ);
	no_access = map_page(PROT_NONE);
	data = map_page(PROT_READ | PROT_WRITE);
	*(volatile u8 *)data = 0xc3; /* ret: harmless, were it executed */

	/* Pages that the TLB knows, with rights that they are about to lose. */
	was_written = map_page(PROT_READ | PROT_WRITE);
	*(volatile u64 *)was_written = 1;
	must(sys_mprotect(was_written, PAGE_SIZE, PROT_READ), "mprotect");

	/* Two pages of a file that ends in the first. */
	must(sys_ftruncate(file, 100), "ftruncate");
	past_file = PAGE_SIZE + must(sys_mmap(0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
				     "mmap of a file");

	/* The holes last: the kernel might put a later mapping into one. */
	was_mapped = PAGE_SIZE + (u64)anonymous(3 * PAGE_SIZE, MAP_PRIVATE);
	hole = PAGE_SIZE + (u64)anonymous(3 * PAGE_SIZE, MAP_PRIVATE);
	*(volatile u64 *)was_mapped = 1;
	must(sys_munmap(was_mapped, PAGE_SIZE), "munmap");
	must(sys_munmap(hole, PAGE_SIZE), "munmap");
}

/* ---- the faults ---- */

struct fault {
	const char *name;
	access *instruction;
	u64 address; /* that the instruction is given */
	u64 expected; /* si_addr */
	const void *rip; /* NULL: processors differ */
};

#define MAX_FAULTS 32

/* Fills the table, which needs the addresses of map_places(). Returns how many there are. */
static int list_faults(struct fault *faults)
{
	const struct fault all[] = {
		{ "read_unmapped", load, hole + 0x123, hole + 0x123, load },
		{ "write_unmapped", store, hole + 0x128, hole + 0x128, store },
		{ "jump_unmapped", jump, hole + 0x40, hole + 0x40, (void *)(hole + 0x40) },
		{ "read_after_munmap", load, was_mapped + 8, was_mapped + 8, load },
		{ "read_null", load, 0, 0, load },
		{ "write_null_field", store, 0x18, 0x18, store },
		{ "read_none", load, no_access + 0x10, no_access + 0x10, load },
		{ "write_readonly", store, read_only + 0x20, read_only + 0x20, store },
		{ "write_after_mprotect", store, was_written + 8, was_written + 8, store },
		{ "write_text", store, (u64)guarded_recovered, (u64)guarded_recovered, store },
		{ "exec_data", jump, data, data, (void *)data },
		{ "read_across", load, hole - 4, hole, load },
		{ "write_across", store, hole - 4, hole, store },
		{ "read_kernel_half", load, KERNEL_HALF, KERNEL_HALF, load },
		{ "read_noncanonical", load, NON_CANONICAL, 0, load },
		{ "write_noncanonical", store, NON_CANONICAL, 0, store },
		{ "jump_noncanonical", jump, NON_CANONICAL, 0, NULL },
		{ "read_past_file", load, past_file + 0x30, past_file + 0x30, load },
		{ "write_past_file", store, past_file + 0x30, past_file + 0x30, store },
		{ "divide_by_zero", divide_by_zero, 0, (u64)div_at, div_at },
		{ "divide_overflow", divide_overflow, 0, (u64)idiv_at, idiv_at },
		{ "illegal", illegal, 0, (u64)illegal, illegal },
		{ "breakpoint", breakpoint, 0, 0, after_int3 },
		{ "privileged", privileged, 0, 0, privileged },
	};
	int n = sizeof(all) / sizeof(all[0]);

	_Static_assert(sizeof(all) / sizeof(all[0]) <= MAX_FAULTS, "the table is too small");
	memcpy(faults, all, sizeof(all));
	return n;
}

static void report(const struct fault *fault, int with_registers)
{
	print("%s: %s %s address%s%ld", fault->name, signal_name(seen.signo), code_name(seen.signo, seen.code),
	      seen.address < fault->expected ? "" : "+", seen.address - fault->expected);
	if (fault->rip)
		print(" rip%s%ld", seen.rip < (u64)fault->rip ? "" : "+", seen.rip - (u64)fault->rip);
	if (with_registers)
		print(" trap %lu error 0x%lx", seen.trap, seen.error);
	if (with_registers && seen.trap == 14)
		print(" cr2%s%ld", seen.cr2 < fault->expected ? "" : "+", seen.cr2 - fault->expected);
	print("\n");
}

static void make_all(const struct fault *faults, int n, int with_registers)
{
	for (int i = 0; i < n; i++) {
		if (guarded(faults[i].instruction, faults[i].address)) {
			report(&faults[i], with_registers);
		} else {
			print("%s: no signal: WRONG\n", faults[i].name);
			guest_wrong++;
		}
	}
	check("the bytes before the hole are untouched", *(volatile u32 *)(hole - 4) == 0);
	check("the last page of the file ends in zeros", *(volatile u64 *)(past_file - 8) == 0);
}

/* ---- signal delivery ---- */

static u8 other_stack[16384] __attribute__((aligned(16)));
static volatile u64 handler_stack; /* an address in the frame of the last handler */

static void recover_on_other_stack(int signo, struct siginfo *info, struct ucontext *context)
{
	volatile u8 here = 0;

	handler_stack = (u64)&here;
	recover(signo, info, context);
}

static int on_other_stack(u64 address)
{
	return address - (u64)other_stack < sizeof(other_stack);
}

static void alternate_stack(void)
{
	struct sigstack stack = { other_stack, 0, sizeof(other_stack) };

	must(sys_sigaltstack(&stack, NULL), "sigaltstack");
	on_signal(SIGSEGV, recover_on_other_stack, SA_SIGINFO, 0);
	guarded(load, hole);
	check("a handler without SA_ONSTACK runs on the stack in use", !on_other_stack(handler_stack));
	on_signal(SIGSEGV, recover_on_other_stack, SA_SIGINFO | SA_ONSTACK, 0);
	guarded(load, hole);
	check("a handler with SA_ONSTACK runs on the alternate stack", on_other_stack(handler_stack));
	handler_stack = 0;
	check("a bad stack pointer: the alternate stack still serves",
	      guarded(push_there, hole + 0x100) && on_other_stack(handler_stack) &&
		      seen.address == hole + 0xf8 && seen.rip == (u64)push_at);
}

static void make_writable(int signo, struct siginfo *info, struct ucontext *context)
{
	seen.signo = signo;
	seen.rip = context->rip;
	must(sys_mprotect(info->address & -PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE), "mprotect");
}

static void repair_and_return(void)
{
	u64 address = read_only + 0x20;

	on_signal(SIGSEGV, make_writable, SA_SIGINFO, 0);
	seen.signo = 0;
	check("the store is done again after a handler has made the page writable",
	      !guarded(store, address) && seen.signo == SIGSEGV && *(volatile u64 *)address == address);
}

static volatile int usr2_count, usr2_inside;
static volatile u64 mask_inside, mask_saved;

static void count_usr2(void)
{
	usr2_count++;
}

static void recover_with_mask(int signo, struct siginfo *info, struct ucontext *context)
{
	u64 mask;

	must(sys_rt_sigprocmask(SIG_BLOCK, NULL, &mask), "rt_sigprocmask");
	mask_inside = mask;
	mask_saved = context->mask;
	sys_kill(sys_getpid(), SIGUSR2);
	usr2_inside = usr2_count;
	recover(signo, info, context);
}

static void signal_mask(void)
{
	u64 mask = ~0UL;

	on_signal(SIGUSR2, count_usr2, 0, 0);
	on_signal(SIGSEGV, recover_with_mask, SA_SIGINFO, SIGNAL_BIT(SIGUSR2));
	guarded(load, hole);
	check("inside a handler its signal and those of sa_mask are blocked",
	      mask_inside == (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGUSR2)));
	check("a blocked signal waits until the handler returns", usr2_inside == 0 && usr2_count == 1);
	must(sys_rt_sigprocmask(SIG_BLOCK, NULL, &mask), "rt_sigprocmask");
	check("then the mask is what it was", mask == 0 && mask_saved == 0);
}

static volatile int depth, deepest;

static void fault_again(int signo, struct siginfo *info, struct ucontext *context)
{
	if (++depth > deepest)
		deepest = depth;
	if (depth < 3)
		guarded(store, hole);
	depth--;
	recover(signo, info, context);
}

static void nested(void)
{
	on_signal(SIGSEGV, fault_again, SA_SIGINFO | SA_NODEFER, 0);
	check("with SA_NODEFER a handler may fault in its turn", guarded(load, hole) && deepest == 3);
}

/* The signal that ends a child which makes one fault. */
static int dies_of(access *instruction, u64 address)
{
	long child = must(sys_fork(), "fork");

	if (child == 0) {
		guarded(instruction, address);
		sys_exit_group(0);
	}
	return killed_by(wait_for(child));
}

static void deadly(void)
{
	struct sigstack none = { NULL, SS_DISABLE, 0 };
	u64 mask = SIGNAL_BIT(SIGSEGV);

	must(sys_sigaltstack(&none, NULL), "sigaltstack");
	on_signal(SIGSEGV, recover, SA_SIGINFO, 0);
	check("a handler without a stack to run on: killed", dies_of(push_there, hole + 0x100) == SIGSEGV);
	must(sys_rt_sigprocmask(SIG_BLOCK, &mask, NULL), "rt_sigprocmask");
	check("a fault whose signal is blocked: killed", dies_of(load, hole) == SIGSEGV);
	must(sys_rt_sigprocmask(SIG_UNBLOCK, &mask, NULL), "rt_sigprocmask");
	on_signal(SIGSEGV, SIG_IGN, 0, 0);
	check("a fault whose signal is ignored: killed", dies_of(load, hole) == SIGSEGV);
}

int main(int argc, char **argv, char **envp)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	struct fault faults[MAX_FAULTS];
	int n;

	(void)envp;
	map_places();
	n = list_faults(faults);
	if (argc == 2 && !strcmp(argv[1], "list")) {
		for (int i = 0; i < n; i++)
			print("%s\n", faults[i].name);
		return 0;
	}
	if (argc == 3 && !strcmp(argv[1], "kill")) {
		for (int i = 0; i < n; i++)
			if (!strcmp(argv[2], faults[i].name)) {
				guarded(faults[i].instruction, faults[i].address);
				print("%s: survived\n", argv[2]);
				return 1;
			}
		complain("faults: no fault has the name %s; try faults list\n", argv[2]);
		return 2;
	}
	if (argc > 2 || (argc == 2 && strcmp(argv[1], "regs")))
		usage("faults [regs | list | kill NAME]");

	for (u64 i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		on_signal(signals[i], recover, SA_SIGINFO, 0);
	make_all(faults, n, argc == 2);
	alternate_stack();
	repair_and_return();
	signal_mask();
	nested();
	deadly();
	return guest_wrong != 0;
}
