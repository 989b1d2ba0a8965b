/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * instructions [COUNT [SEED [NAME]]]: executes each instruction of the list, or the one of that name, on COUNT
 * random states of all registers and 128 bytes of memory, and prints what came of it.
 *
 * A line each: the name, and hashes of the general registers, RFLAGS, the XMM registers, the memory, the control words
 * and the tags, the x87 registers in use, and FSW, over all states. For one that approximates, the values in ST(0) and
 * ST(1) take the place of the hash, one line a state.
 */
#include "guest.h"

enum kind { INT, F32, F64, X87, MMX, TEXT };

struct snippet {
	const char *name;
	const void *code;
	enum kind kind;
	int flags, status, mxcsr, low, high, edges, rc, pc, control, sse, tame, close, vendor;
};

struct extended {
	u64 mantissa;
	u16 exponent, rest[3];
};

/*
 * The instructions: S(name, text, kind of operands, what is special).
 *
 *   .flags      the bits of RFLAGS that are defined (all that a program may change, if not said)
 *   .status     the bits of FSW that are compared (none if not said), .mxcsr those of MXCSR
 *   .close      the value is within a unit in the last place of what another CPU gives: it is printed
 *   .vendor     CPUs differ
 *   .low .high  exponents of x87 operands, .edges how many of 100 are special values
 *   .rc .pc     rounding or precision control is varied; .control, .sse fix FCW and MXCSR
 *   .tame       no NaN among operands of SSE instructions
 */
#define CLOSE .close = 1, .edges = 0, .rc = 0
#define C0123 0x4700
#define C1 0x200
#define C2 0x400
#define EXCEPTIONS 0x7f
#define WHOLE (C0123 | EXCEPTIONS)

#define INSTRUCTIONS(S)                                                                                              \
	/* what the engine computes wrongly */                                                                       \
	S(fsin, "fsin", X87, .low = 16343, .high = 16386, CLOSE)                                                     \
	S(fcos, "fcos", X87, .low = 16343, .high = 16386, CLOSE)                                                     \
	S(fsincos, "ffree st(7); fsincos", X87, .low = 16343, .high = 16386, CLOSE)                                  \
	S(fptan, "ffree st(7); fptan; fxch", X87, .low = 16343, .high = 16386, CLOSE)                                \
	S(fsincos_far, "ffree st(7); fsincos", X87, .low = 16386, .high = 16446, CLOSE, .vendor = 1)                 \
	S(fptan_far, "ffree st(7); fptan; fxch", X87, .low = 16386, .high = 16446, CLOSE, .vendor = 1)               \
	S(fpatan, "fpatan", X87, .low = 16343, .high = 16423, CLOSE)                                                 \
	S(f2xm1, "f2xm1", X87, .low = 16323, .high = 16383, CLOSE)                                                   \
	S(fyl2x, "fabs; fyl2x", X87, .low = 16343, .high = 16423, CLOSE)                                             \
	S(fyl2xp1, "fyl2xp1", X87, .low = 16323, .high = 16381, CLOSE)                                               \
	S(fsin_huge, "fsin", X87, .low = 16446, .high = 32766, .status = C2)                                         \
	S(fptan_huge, "ffree st(7); fptan", X87, .low = 16446, .high = 32766, .status = C2)                          \
	S(fyl2x_negative, "fabs; fchs; fyl2x", X87, .low = 16343, .high = 16423, .edges = 0, .status = 1)            \
	S(fyl2x_powers, "fxtract; fstp st(0); fldl2e; fxch st(1); fscale; fstp st(1); fld1; fscale; fstp st(1); "    \
	  "fyl2x", X87, .low = 16383, .high = 16393, .edges = 0)                                                     \
	S(fprem, "fprem", X87, .low = 16363, .high = 16403, .edges = 10, .status = C0123)                            \
	S(fprem1, "fprem1", X87, .low = 16363, .high = 16403, .edges = 10, .status = C0123)                          \
	S(fprem_wide, "fprem", X87, .low = 1, .high = 32766, .status = C2, .vendor = 1)                              \
	S(fprem1_wide, "fprem1", X87, .low = 1, .high = 32766, .status = C2, .vendor = 1)                            \
	S(fprem_all, "1: fprem; fnstsw ax; test ah, 4; jnz 1b", X87, .low = 16383, .high = 18383, .status = C0123,   \
	  .edges = 0, .flags = 0)                                                                                    \
	S(fxtract, "ffree st(7); fxtract", X87, .low = 1, .high = 32766, .status = EXCEPTIONS)                       \
	S(fxtract_full, "fxtract", X87, .status = EXCEPTIONS | C1)                                                   \
	S(fscale, "fscale", X87, .low = 16373, .high = 16397, .rc = 1, .status = EXCEPTIONS | C1)                    \
	S(fldl2t, "ffree st(7); fldl2t", X87, .rc = 1)                                                               \
	S(fldl2e, "ffree st(7); fldl2e", X87, .rc = 1)                                                               \
	S(fldpi, "ffree st(7); fldpi", X87, .rc = 1)                                                                 \
	S(fldlg2, "ffree st(7); fldlg2", X87, .rc = 1)                                                               \
	S(fldln2, "ffree st(7); fldln2", X87, .rc = 1)                                                               \
	S(fldpi_full, "fldpi", X87, .status = EXCEPTIONS | C1)                                                       \
	S(fsin_empty, "ffree st(0); fsin", X87, .status = EXCEPTIONS | C1)                                           \
	S(fyl2x_empty, "ffree st(1); fyl2x", X87, .status = EXCEPTIONS | C1)                                         \
	S(fisttp_m16, "fisttp word ptr [memory+32]", X87, .low = 16378, .high = 16449)                               \
	S(fisttp_m32, "fisttp dword ptr [memory+32]", X87, .low = 16378, .high = 16449, .status = EXCEPTIONS | C1)   \
	S(fisttp_m64, "fisttp qword ptr [memory+32]", X87, .low = 16378, .high = 16449, .status = EXCEPTIONS | C1)   \
	S(fbstp, "fbstp tbyte ptr [memory+32]", X87, .low = 16380, .high = 16449, .rc = 1, .status = EXCEPTIONS | C1) \
	S(fnstenv, "fnstenv [memory]; mov dword ptr [memory+12], 0; mov qword ptr [memory+16], 0; "                  \
	  "mov word ptr [memory+2], 0; mov word ptr [memory+6], 0; mov dword ptr [memory+10], 0; "                   \
	  "mov dword ptr [memory+24], 0", X87, .control = 0x340)                                                     \
	S(fldcw_kept, "fninit; fnstcw [memory]; or word ptr [memory], 0xc00; fldcw [memory]; fld1; "                 \
	  "fild word ptr [memory+8]; fdivp", X87)                                                                    \
	S(phaddw_same, "phaddw xmm2, xmm2", INT) S(phaddd_same, "phaddd xmm9, xmm9", INT)                            \
	S(phaddsw_same, "phaddsw xmm2, xmm2", INT) S(phsubw_same, "phsubw xmm2, xmm2", INT)                          \
	S(phsubd_same, "phsubd xmm2, xmm2", INT) S(phsubsw_same, "phsubsw xmm15, xmm15", INT)                        \
	S(phaddw_same_mmx, "phaddw mm2, mm2", MMX) S(phsubsw_same_mmx, "phsubsw mm1, mm1", MMX)                      \
	S(ssse3_mmx, "pshufb mm0, mm1", MMX) S(palignr_mmx, "palignr mm0, mm1, 3", MMX)                              \
	S(pabsd_mmx, "pabsd mm0, qword ptr [memory+32]", MMX)                                                        \
	S(pcmpistri_0c, "pcmpistri xmm0, xmm1, 0x0c", TEXT) S(pcmpistri_0d, "pcmpistri xmm0, xmm1, 0x0d", TEXT)      \
	S(pcmpistri_4c, "pcmpistri xmm0, [memory+33], 0x4c", TEXT)                                                   \
	S(pcmpistri_5e, "pcmpistri xmm0, xmm1, 0x5e", TEXT) S(pcmpistri_3f, "pcmpistri xmm0, xmm1, 0x3f", TEXT)      \
	S(pcmpistri_00, "pcmpistri xmm0, xmm1, 0x00", TEXT) S(pcmpistri_1a, "pcmpistri xmm8, xmm1, 0x1a", TEXT)      \
	S(pcmpistri_14, "pcmpistri xmm0, xmm1, 0x14", TEXT) S(pcmpistri_46, "pcmpistri xmm0, xmm1, 0x46", TEXT)      \
	S(pcmpistrm_0c, "pcmpistrm xmm1, xmm2, 0x0c", TEXT) S(pcmpistrm_4d, "pcmpistrm xmm1, xmm2, 0x4d", TEXT)      \
	S(pcmpistrm_6e, "pcmpistrm xmm1, [memory+1], 0x6e", TEXT)                                                    \
	S(pcmpestri_0c, "and eax, 31; and edx, 31; pcmpestri xmm0, xmm1, 0x0c", TEXT)                                \
	S(pcmpestri_18, "movsx eax, al; movsx edx, dl; pcmpestri xmm0, xmm1, 0x18", TEXT)                            \
	S(pcmpestri_5d, "and eax, 15; and edx, 31; pcmpestri xmm0, [memory+7], 0x5d", TEXT)                          \
	S(pcmpestri_w, "and eax, 15; movsx rdx, dl; .byte 0x66, 0x48, 0x0f, 0x3a, 0x61, 0xc1, 0x0c", TEXT)           \
	S(pcmpestrm_4c, "and eax, 31; and edx, 15; pcmpestrm xmm1, xmm2, 0x4c", TEXT)                                \
	S(dpps_ff, "dpps xmm0, xmm1, 0xff", F32, .rc = 1, .tame = 1, .mxcsr = 0x3f)                                  \
	S(dpps_71, "dpps xmm10, [memory+32], 0x71", F32, .rc = 1, .tame = 1, .mxcsr = 0x3f)                          \
	S(dpps_ftz, "dpps xmm0, xmm1, 0xf5", F32, .sse = 0x9fc0, .tame = 1, .mxcsr = 0x3f)                           \
	S(dpps_nan, "dpps xmm0, xmm1, 0xff", F32, .vendor = 1)                                                       \
	S(dppd_33, "dppd xmm0, xmm1, 0x33", F64, .rc = 1, .tame = 1, .mxcsr = 0x3f)                                  \
	S(dppd_12, "dppd xmm0, [memory+16], 0x12", F64, .rc = 1, .tame = 1)                                          \
	S(dppd_nan, "dppd xmm0, xmm1, 0x33", F64, .vendor = 1)                                                       \
	S(lock_neg8, "lock neg byte ptr [memory+5]", INT) S(lock_neg16, "lock neg word ptr [memory+6]", INT)         \
	S(lock_neg32, "lock neg dword ptr [memory+8]", INT) S(lock_neg64, "lock neg qword ptr [memory+8]", INT)      \
	S(cmpxchg32, "cmpxchg ecx, ebx", INT) S(cmpxchg32_high, "cmpxchg r9d, r14d", INT)                            \
	S(cmpxchg32_equal, "mov eax, ecx; cmpxchg ecx, ebx", INT)                                                    \
	/* what it computes rightly, a sample: so that it stays so */                                                \
	S(add, "add rax, rbx; adc cl, dl; sbb r8w, r9w; sub r10d, r11d", INT)                                        \
	S(mul, "mul rbx; mov r8, rdx; imul ecx, r9d", INT, .flags = 0x801)                                           \
	S(shifts, "mov cl, 5; shl rax, cl; sar ebx, 3; rol r8, 9; rcr r9w, 1", INT, .flags = 0)                      \
	S(bits, "bt rax, 7; bts rbx, 9; popcnt r8, r9; crc32 r10, r11", INT, .flags = 1)                             \
	S(cmpxchg_memory, "lock cmpxchg [memory+32], rbx; lock xadd [memory+40], ecx", INT)                          \
	S(cmpxchg16b, "lock cmpxchg16b [memory+32]", INT, .flags = 0x40)                                             \
	S(strings, "lea rsi, [memory]; lea rdi, [memory+64]; mov ecx, 5; rep movsw; mov ecx, 3; repne scasb", INT)   \
	S(neg, "neg rax; neg byte ptr [memory]", INT)                                                                \
	S(sums, "addps xmm0, xmm1; subpd xmm2, xmm3; mulss xmm4, xmm5; divsd xmm6, xmm7", F32, .rc = 1, .tame = 1)   \
	S(roots, "sqrtps xmm0, xmm1; sqrtsd xmm2, xmm3; roundps xmm4, xmm5, 4; haddps xmm6, xmm6", F32, .rc = 1,     \
	  .tame = 1)                                                                                                 \
	S(conversions, "cvtps2dq xmm0, xmm1; cvttsd2si rax, xmm2; cvtsi2ss xmm3, rbx; cvtsd2ss xmm4, xmm5", F64,     \
	  .rc = 1, .tame = 1)                                                                                        \
	S(comparisons, "cmpltps xmm0, xmm1; comisd xmm2, xmm3; minps xmm4, xmm5; maxsd xmm6, xmm7", F32)             \
	S(packed, "paddsw xmm0, xmm1; pmulhrsw xmm2, xmm3; psadbw xmm4, xmm5; pshufb xmm6, xmm7; phaddw xmm8, xmm9", \
	  INT)                                                                                                       \
	S(mpsadbw, "mpsadbw xmm0, xmm1, 5; pblendw xmm2, xmm3, 0x9c; phminposuw xmm4, xmm5; ptest xmm6, xmm7", INT)  \
	S(aes, "aesenc xmm0, xmm1; aesdeclast xmm2, xmm3; pclmulqdq xmm4, xmm5, 0x10", INT)                          \
	S(x87_sums, "fadd st, st(1); fmul st, st(2); fdiv st, st(3); fsub st, st(4); fsqrt", X87, .rc = 1, .pc = 1)  \
	S(x87_memory, "fadd dword ptr [memory]; fmul qword ptr [memory+8]; fst dword ptr [memory+16]; "              \
	  "fstp qword ptr [memory+24]; fistp dword ptr [memory+32]", X87, .rc = 1, .edges = 0)                       \
	S(x87_comparisons, "fcomi st, st(1); fcmovb st, st(2); fxam", X87, .status = C0123, .flags = 0x45)           \
	S(frndint, "frndint", X87, .rc = 1, .low = 16373, .high = 16447)                                             \
	S(fbld, "ffree st(7); mov rax, 0x0999999999999999; and [memory], rax; and word ptr [memory+8], 0x8099; "     \
	  "fbld tbyte ptr [memory]", X87, .flags = 0)                                                                \
	/* what the engine is left alone with: it differs */                                                         \
	S(sse_exceptions, "divps xmm0, xmm1", F32, .mxcsr = 0x3f, .tame = 1)                                         \
	S(sse_flush, "mulps xmm0, xmm1", F32, .sse = 0x9f80, .tame = 1)                                              \
	S(sse_two_nans, "pcmpeqd xmm8, xmm8; psrld xmm8, 23; pslld xmm8, 22; orps xmm0, xmm8; orps xmm1, xmm8; "     \
	  "addps xmm0, xmm1", INT)                                                                                   \
	S(daz_minps, "minps xmm0, xmm1", F32, .sse = 0x1fc0, .tame = 1)                                              \
	S(x87_exceptions, "fdiv st, st(1)", X87, .status = EXCEPTIONS | C1)                                          \
	S(x87_flush, "fmul st, st(1); fst dword ptr [memory]; fst qword ptr [memory+8]", X87, .sse = 0x9f80,         \
	  .low = 15783, .high = 15983, .edges = 0)                                                                   \
	S(cmpxchg32_memory, "mov [memory], eax; lock cmpxchg [memory], ebx", INT)                                    \
	S(x87_signalling, "ffree st(7); mov dword ptr [memory], 0x7f812345; fld dword ptr [memory]; "                \
	  "fstp tbyte ptr [memory]", X87)                                                                            \
	S(x87_overflow, "fld1", X87) S(x87_underflow, "ffree st(1); fadd st, st(1)", X87)                            \
	S(mmx_exponents, "paddb mm0, mm1", X87)

/* What FXSAVE stores, then what it does not. */
struct state {
	u16 fcw, fsw;
	u8 tags, zero;
	u16 opcode;
	u64 pointers[2];
	u32 mxcsr, mask;
	struct extended st[8];
	u64 xmm[16][2];
	u64 rest[12];
	u64 registers[15]; /* all but RSP: RAX RBX RCX RDX RSI RDI RBP R8 ... R15 */
	u64 rflags, moved; /* by how much RSP is changed */
	u64 memory[16];
} __attribute__((aligned(64)));

u64 memory[16] __attribute__((aligned(64)));
struct state before, after;
u64 kept_rsp, kept_r15;
const void *code;

/* run(): loads `before`, calls `code`, stores `after`. */
void run(void);
__asm__(".text\n.intel_syntax noprefix\n"
	"run: push rbx; push rbp; push r12; push r13; push r14; push r15\n"
	"mov kept_rsp, rsp\n"
	"fxrstor64 before; push qword ptr before[632]; popfq\n"
	"mov rax, before[512]; mov rbx, before[520]; mov rcx, before[528]; mov rdx, before[536]\n"
	"mov rsi, before[544]; mov rdi, before[552]; mov rbp, before[560]; mov r8, before[568]\n"
	"mov r9, before[576]; mov r10, before[584]; mov r11, before[592]; mov r12, before[600]\n"
	"mov r13, before[608]; mov r14, before[616]; mov r15, before[624]\n"
	"call qword ptr code[rip]\n"
	"mov after[512], rax; mov after[520], rbx; mov after[528], rcx; mov after[536], rdx\n"
	"mov after[544], rsi; mov after[552], rdi; mov after[560], rbp; mov after[568], r8\n"
	"mov after[576], r9; mov after[584], r10; mov after[592], r11; mov after[600], r12\n"
	"mov after[608], r13; mov after[616], r14; mov after[624], r15\n"
	"pushfq; pop qword ptr after[632]; cld\n"
	"mov rax, rsp; sub rax, kept_rsp; mov after[640], rax; mov rsp, kept_rsp\n"
	"fxsave64 after; fninit; ldmxcsr first_mxcsr\n"
	"pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx; ret\n"
	"first_mxcsr: .long 0x1f80\n"
	".att_syntax\n");

#define CODE(name, text, ...)                                                                    \
	extern const char code_##name[];                                                         \
	__asm__(".text\n.intel_syntax noprefix\ncode_" #name ": " text "; ret\n.att_syntax\n");
#define ROW(name, text, kind, ...) { #name, code_##name, kind, KIND_DEFAULTS, __VA_ARGS__ },
/* CF PF AF ZF SF DF OF */
#define KIND_DEFAULTS .flags = 0xcd5, .low = 16313, .high = 16453, .edges = 30

INSTRUCTIONS(CODE)

#pragma GCC diagnostic ignored "-Woverride-init"
static const struct snippet snippets[] = { INSTRUCTIONS(ROW) };

/* ---- operands ---- */

static u64 seed;

static u64 next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1d;
}

static u64 below(u64 limit)
{
	return (next() >> 16) % limit;
}

static const u64 special_64[] = {
	0, 1, 2, 7, 8, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
	0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa,
};
static const u32 special_f32[] = {
	0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 1, 0x80000001, 0x7fffff, 0x800000, 0x7f7fffff,
	0x4effffff, 0xcf000000, 0x3f000000, 0x40200000, 0x7fc00000, 0xffc00000, 0x7fc12345, 0xffd23456, 0x7f812345,
};
static const u64 special_f64[] = {
	0, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000, 0xfff0000000000000, 1,
	0x8000000000000001, 0xfffffffffffff, 0x10000000000000, 0x7fefffffffffffff, 0x41dfffffffc00000,
	0xc3e0000000000000, 0x3fe0000000000000, 0x4004000000000000, 0x7ff8000000000000, 0xfff8000000000000,
	0x7ff8000012345678, 0xfff9234500000000, 0x7ff0000012345678,
};
#define TAME 15 /* the rest are NaNs */
static const struct extended special_x87[] = {
	{ 0, 0, { 0 } }, { 0, 0x8000, { 0 } }, { 1ul << 63, 0x3fff, { 0 } }, { 1ul << 63, 0xbfff, { 0 } },
	{ 1ul << 63, 0x7fff, { 0 } }, { 1ul << 63, 0xffff, { 0 } }, { 3ul << 62, 0x7fff, { 0 } },
	{ 3ul << 62, 0xffff, { 0 } }, { 0xc000000012345678, 0x7fff, { 0 } }, { 0x8000000012345678, 0xffff, { 0 } },
	{ 1, 0, { 0 } }, { 0x7fffffffffffffff, 0x8000, { 0 } }, { 1ul << 63, 1, { 0 } }, { ~0ul, 0x7ffe, { 0 } },
	{ 1ul << 63, 0x403e, { 0 } }, { ~0ul, 0x403e, { 0 } }, { ~1ul, 0x403d, { 0 } }, { 1ul << 63, 0xc01e, { 0 } },
	{ 0xfffe000000000000, 0x400d, { 0 } }, { 1ul << 63, 0x3ffe, { 0 } }, { 0xc90fdaa22168c235, 0x3fff, { 0 } },
	{ 0xde0b6b3a763fffff, 0x403a, { 0 } }, { 3ul << 62, 0x4000, { 0 } }, { 0xa000000000000000, 0x4002, { 0 } },
	{ 0x4000000000000000, 0x3fff, { 0 } }, { 0xf000000000000001, 0, { 0 } },
};

#define PICK(array, number) array[below(number)]
#define COUNT_OF(array) (sizeof(array) / sizeof(*array))

static u64 integer(void)
{
	u64 value = next();

	switch (below(4)) {
	case 0:
		return PICK(special_64, COUNT_OF(special_64));
	case 1:
		return value >> below(64);
	}
	return value;
}

static u64 single(const struct snippet *it)
{
	u64 value = next();

	if (below(10) < 3)
		return PICK(special_f32, it->tame ? TAME : COUNT_OF(special_f32));
	return (value & 0x807fffff) | (100 + below(50)) << 23;
}

static u64 twice(const struct snippet *it)
{
	u64 value = next();

	if (below(10) < 3)
		return PICK(special_f64, it->tame ? TAME : COUNT_OF(special_f64));
	return (value & 0x800fffffffffffff) | (1000 + below(90)) << 52;
}

static struct extended extended(const struct snippet *it)
{
	struct extended value = { 0 };

	if ((int)below(100) < it->edges)
		return PICK(special_x87, COUNT_OF(special_x87));
	value.mantissa = next() | 1ul << 63;
	if (below(2))
		value.mantissa &= ~0x7fful;
	value.exponent = it->low + below(it->high - it->low);
	value.exponent |= below(2) << 15;
	return value;
}

/* 16 characters, mostly of few kinds, and often with an end. */
static u64 text(void)
{
	static const char letters[] = "\0aabbcABCz\xff" "09 ab";
	u64 value = 0;
	u64 few = below(3) == 0, end = below(20);

	for (u64 i = 0; i < 8; i++)
		value = value << 8 | (i >= end ? 0 : (u8)(few ? letters[14 + below(2)] : PICK(letters, 16)));
	return value;
}

static u64 word(const struct snippet *it)
{
	u64 low;

	switch (it->kind) {
	case F32:
		low = single(it);
		return low | single(it) << 32;
	case F64:
		return twice(it);
	case TEXT:
		return text();
	default:
		return integer();
	}
}

static void prepare(const struct snippet *it)
{
	memset(&before, 0, sizeof(before));
	before.fcw = it->control ? it->control : 0x37f;
	before.mxcsr = it->sse ? it->sse : 0x1f80;
	if (it->rc) {
		before.fcw |= below(4) << 10;
		before.mxcsr |= below(4) << 13;
	}
	if (it->pc)
		before.fcw = (before.fcw & ~0x300) | (below(2) ? 0x200 : below(2) ? 0x300 : 0);
	before.rflags = 0x202 | (next() & 0x8d5);
	for (int i = 0; i < 15; i++)
		before.registers[i] = integer();
	for (int i = 0; i < 16; i++) {
		before.xmm[i][0] = word(it);
		before.xmm[i][1] = word(it);
	}
	for (int i = 0; i < 16; i++)
		memory[i] = it->kind == X87 ? (i & 1 ? twice(it) : single(it) | 0x40490fdbul << 32) : word(it);
	before.fsw = below(8) << 11;
	before.tags = it->kind == X87 ? 0xff : it->kind == MMX ? below(256) : 0;
	for (int i = 0; i < 8; i++) {
		before.st[i] = extended(it);
		if (it->kind == MMX) {
			before.st[i].mantissa = integer();
			before.st[i].exponent = 0xffff;
		}
	}
}

/* ---- results ---- */

struct hashes {
	u32 registers, flags, xmm, memory, control, st, status;
};

static void add(u32 *hash, u64 value)
{
	for (int i = 0; i < 8; i++, value >>= 8)
		*hash = (*hash ^ (value & 0xff)) * 16777619;
}

static int is_live(int number)
{
	return after.tags >> (((after.fsw >> 11) + number) & 7) & 1;
}

static void collect(const struct snippet *it, struct hashes *to)
{
	for (int i = 0; i < 15; i++)
		add(&to->registers, after.registers[i]);
	add(&to->registers, after.moved);
	add(&to->flags, after.rflags & it->flags);
	for (int i = 0; i < 16; i++) {
		add(&to->xmm, after.xmm[i][0]);
		add(&to->xmm, after.xmm[i][1]);
		add(&to->memory, memory[i]);
	}
	add(&to->control, after.fcw & 0x1f3f);
	add(&to->control, after.tags);
	add(&to->control, after.fsw & 0x3800);
	add(&to->control, after.mxcsr & (0xffc0 | it->mxcsr));
	for (int i = 0; i < 8; i++) {
		if (!is_live(i))
			continue;
		if (it->close && i < 2)
			print("%s%s=%d %x %lx\n", it->name, it->vendor ? "*" : "", i, after.st[i].exponent, after.st[i].mantissa);
		else {
			add(&to->st, after.st[i].exponent);
			add(&to->st, after.st[i].mantissa);
		}
	}
	add(&to->status, after.fsw & it->status);
}

static void try(const struct snippet *it, u64 count, u64 with)
{
	struct hashes all = { 1, 1, 1, 1, 1, 1, 1 };

	seed = with;
	code = it->code;
	for (u64 i = 0; i < count; i++) {
		prepare(it);
		run();
		collect(it, &all);
	}
	print("%s%s registers %x flags %x xmm %x memory %x control %x st %x status %x\n", it->name,
	      it->vendor ? "*" : "", all.registers, all.flags, all.xmm, all.memory, all.control, all.st, all.status);
}

int main(int argc, char **argv, char **envp)
{
	u64 count = argc > 1 ? atou64(argv[1]) : 20;
	u64 with = argc > 2 ? atou64(argv[2]) : 1;

	(void)envp;
	for (u64 i = 0; i < COUNT_OF(snippets); i++)
		if (argc < 4 || strcmp(argv[3], snippets[i].name) == 0)
			try(&snippets[i], count, (with + 1) * 0x9e3779b97f4a7c15 + i);
	return 0;
}
