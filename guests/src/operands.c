/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * operands: instructions with an operand in memory that cannot be reached, or only after a page fault, and what the
 * handler of the signal is told: the signal, its si_code, si_addr, the instruction pointer, the trap number, the error
 * code, and CR2, addresses as distances from the operand's page. Then the x87 status word and a word of the operand.
 *   fisttp_m32 hole: signal 11 code 1 address 0 rip 0 trap 14 error 6 cr2 0 status 3800 memory 0
 */
#include "guest.h"

#define NON_CANONICAL 0x8000000000001000UL /* with 48 and with 57 address bits */
#define KERNEL_HALF 0xffff900000001000UL

#define INSTRUCTIONS(S)                                                                          \
	S(fisttp_m32, "fisttpl (%rdi)")                                                          \
	S(fisttp_m64, "fisttpll (%rdi)")                                                         \
	S(fbstp, "fbstp (%rdi)")                                                                 \
	S(fnstenv, "fnstenv (%rdi)")                                                             \
	S(lock_neg, "lock negl (%rdi)")                                                          \
	S(pcmpistri, "pcmpistri $12, (%rdi), %xmm0")                                             \
	S(dpps, "dpps $0xff, (%rdi), %xmm0")                                                     \
	S(pshufb, "pshufb (%rdi), %mm0")                                                         \
	S(by_stack, "mov %rdi, %rbp; 1: fisttpll (%rbp)")                                        \
	S(by_index, "mov $2, %ecx; fisttpl -8(%rdi,%rcx,4)")                                     \
	S(by_fs, "fisttpl %fs:(%rdi)")

#define CODE(name, text)                                                                         \
	extern const u8 code_##name[];                                                           \
	__asm__(".text\ncode_" #name ": " text "\nret\n");
#define ROW(name, text) { #name, code_##name },

INSTRUCTIONS(CODE)

static const struct {
	const char *name;
	const u8 *code;
} instructions[] = { INSTRUCTIONS(ROW) };

/* guarded(code, address): 1 if a signal has ended it. With 1 in ST(0). */
int guarded(const u8 *code, u64 address);
extern const u8 recovered[];
u64 kept_rsp;

__asm__(".text\n"
	"guarded: push %rbx; push %rbp; mov %rsp, kept_rsp; mov %rdi, %rax; mov %rsi, %rdi\n"
	"fninit; fld1; pxor %xmm0, %xmm0; call *%rax\n"
	"xor %eax, %eax; jmp 1f\n"
	"recovered: mov $1, %eax\n"
	"1: pop %rbp; pop %rbx; ret\n");

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
	context->rip = (u64)recovered;
	context->rsp = kept_rsp;
}

static void attempt(int number, const char *place, u64 address, u64 page)
{
	u16 status;
	int ended = guarded(instructions[number].code, address);
	int readable = page < NON_CANONICAL;

	__asm__ volatile("fnstsw %0; fninit" : "=m"(status));
	print("%s %s:", instructions[number].name, place);
	if (ended) {
		print(" signal %d code %d address %ld", seen.signo, seen.code,
		      seen.address < page - PAGE_SIZE || !page ? 0 : seen.address - page);
		if (instructions[number].code[0] != 0x48 && instructions[number].code[0] != 0xb9)
			print(" rip %ld", seen.rip - (u64)instructions[number].code);
		print(" trap %lu error %lu", seen.trap, seen.error);
		if (seen.trap == 14)
			print(" cr2 %ld", seen.cr2 - page);
	}
	print(" status %x", status & 0x3800);
	if (readable && (!ended || address < page))
		print(" memory %x", *(volatile u32 *)(ended ? page - 8 : address));
	print("\n");
}

int main(int argc, char **argv, char **envp)
{
	int n = sizeof(instructions) / sizeof(*instructions);
	u64 read_only = must(sys_mmap(0, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");
	u64 hole = PAGE_SIZE + (u64)anonymous(3 * PAGE_SIZE, MAP_PRIVATE);
	u64 fresh = (u64)anonymous(64 * PAGE_SIZE, MAP_PRIVATE);

	(void)argc, (void)argv, (void)envp;
	must(sys_munmap(hole, PAGE_SIZE), "munmap");
	on_signal(SIGSEGV, recover, SA_SIGINFO, 0);
	on_signal(SIGBUS, recover, SA_SIGINFO, 0);
	for (int i = 0; i < n; i++) {
		attempt(i, "hole", hole, hole);
		attempt(i, "into the hole", hole - 2, hole);
		attempt(i, "read only", read_only, read_only);
		attempt(i, "kernel", KERNEL_HALF, KERNEL_HALF);
		attempt(i, "not canonical", NON_CANONICAL, NON_CANONICAL);
		attempt(i, "never touched", fresh, fresh);
		attempt(i, "across two never touched", fresh + 2 * PAGE_SIZE - 2, fresh + 2 * PAGE_SIZE);
		fresh += 3 * PAGE_SIZE;
	}
	return 0;
}
