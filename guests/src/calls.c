/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls [SCRIPT]: does what a script says, statement by statement, and prints
 * what came of each. The script is the argument, or else standard input. With it
 * a test is a few lines of text, for the machine and for a Linux host alike.
 *
 *   fd = open "/tmp/a" O_RDWR|O_CREAT 0600    fd = 3
 *   ftruncate fd 8K                           ftruncate = 0
 *   @p = mmap 0 8K PROT_READ MAP_SHARED fd 0  (an @ before a statement: not printed)
 *   load p+16; store p 1                      load = 0
 *                                             store = SEGV_ACCERR
 *   fork child; load p; end                   child = 4711
 *   wait child                                wait = 0
 *
 * A statement ends with its line, or with ";"; "#" begins a comment. NAME = before
 * it keeps its result. A value is a sum or union (+ - |, from the left) of numbers
 * (decimal, 0x, 0 for octal; K, M, G, T behind), constants, names, and strings in
 * quotes (their address; with \n, \0, \", \\). The system calls in CALLS below go by
 * their names, all others by "syscall NUMBER ...". The rest of what there is:
 *
 *   load A, store A V, jump A   one access of 8 bytes, or a call; the result is the
 *                               value, or the signal's code, and " at +N" if si_addr
 *                               is not A but A + N
 *   touch A SIZE, scan A SIZE   write 1 to, or sum up, the first byte of each page
 *   text A, bytes N, words V... the string at A; N zero bytes; 64-bit words (an address)
 *   create FD AT SIZE PROT FLAGS [FILE [OFFSET]], unmap FD AT SIZE     mshare's ioctls
 *   create_at, unmap_at         the same of the postings whose regions have addresses
 *   set_size FD START SIZE      their MSHAREFS_SET_SIZE
 *   place FD AT SIZE PROT FLAGS [FILE [OFFSET]]    mshare_map
 *   fork NAME ... end           a child does what stands between, and exits with 0
 *   thread NAME ... end         a thread does what stands between; statements of threads take turns, and where
 *                               one waits in a system call the others go on
 *   join NAME                   wait for the end of a thread
 *   repeat N ... end
 *   wait PID                    the exit status, or "killed" and the signal
 *   await A V                   yield the CPU until the word at A is V
 *   on SIGNAL HANDLER           rt_sigaction: an address, 0 for default, 1 for ignore
 *   maps A SIZE                 the lines of /proc/self/maps within the range: from and to (counted
 *                               from A, in hex), rights and offset in the file
 *   field PATH NAME             the number behind "NAME:" in a file
 *   minor                       minor faults of this process since the last "minor"
 *   mark N                      nothing, but an observer sees it (a call that no kernel has)
 *   recurse                     push until the stack ends
 *   say V, mod V N              V; V modulo N
 *
 * A script that cannot be read ends the program with status 2. The signal handler
 * has a stack of its own; a fault outside load, store and jump ends the program.
 */
#include "mshare.h"
#include "thread.h"

#define CALLS(X)                                                                                 \
	X(read, 0) X(write, 1) X(open, 2) X(close, 3) X(fstat, 5) X(lseek, 8) X(mmap, 9) X(mprotect, 10)     \
	X(munmap, 11) X(brk, 12) X(ioctl, 16) X(pread, 17) X(pwrite, 18) X(sched_yield, 24)      \
	X(mremap, 25) X(msync, 26) X(mincore, 27) X(madvise, 28) X(dup, 32) X(dup2, 33)          \
	X(pause, 34) X(getpid, 39) X(vfork, 58) X(execve, 59) X(wait4, 61) X(kill, 62)           \
	X(fcntl, 72) X(truncate, 76) X(ftruncate, 77) X(rename, 82) X(mkdir, 83) X(rmdir, 84)    \
	X(link, 86) X(unlink, 87) X(symlink, 88) X(chmod, 90) X(chown, 92) X(getrlimit, 97)      \
	X(setuid, 105) X(setgid, 106) X(setreuid, 113) X(setregid, 114) X(setgroups, 116)        \
	X(setresuid, 117) X(setresgid, 119) X(mknod, 133) X(mlock, 149) X(munlock, 150)          \
	X(mlockall, 151) X(munlockall, 152) X(prctl, 157) X(setrlimit, 160) X(futex, 202)        \
	X(remap_file_pages, 216) X(vmsplice, 278) X(prlimit, 302) X(process_vm_readv, 310)       \
	X(process_vm_writev, 311) X(mlock2, 325) X(pkey_mprotect, 329) X(mseal, 462) X(clone3, 435) \
	X(mount, 165) X(umount2, 166) X(exit, 231) X(fallocate, 285) X(pipe2, 293)               \
	X(memfd_create, 319) X(mshare, 451) X(mshare_unlink, 452)                                \
	X(mshare_create, __NR_mshare_create) X(mshare_attach, __NR_mshare_attach)                \
	X(mshare_detach, __NR_mshare_detach) X(mshare_map, __NR_mshare_map)                      \
	X(mshare_unmap, __NR_mshare_unmap) X(mshare_protect, __NR_mshare_protect)                \
	X(mshare_advise, __NR_mshare_advise)

#define CONSTANTS(X)                                                                             \
	X(NULL, 0) X(O_RDONLY, 0) X(O_WRONLY, 01) X(O_RDWR, 02) X(O_CREAT, 0100) X(O_EXCL, 0200) \
	X(O_TRUNC, 01000) X(O_NONBLOCK, 04000) X(O_PATH, 010000000) X(PROT_NONE, 0)              \
	X(PROT_READ, 1) X(PROT_WRITE, 2) X(PROT_EXEC, 4) X(RW, 3) X(RWX, 7)                      \
	X(MAP_SHARED, 1) X(MAP_PRIVATE, 2) X(MAP_SHARED_VALIDATE, 3) X(MAP_FIXED, 0x10)          \
	X(MAP_ANONYMOUS, 0x20) X(MAP_GROWSDOWN, 0x100) X(MAP_LOCKED, 0x2000)                     \
	X(MAP_NORESERVE, 0x4000) X(MAP_POPULATE, 0x8000) X(MAP_HUGETLB, 0x40000)                 \
	X(MAP_FIXED_NOREPLACE, 0x100000) X(ANON, 0x21) X(PRIVATE, 0x22) X(OBJECT, 0x31)          \
	X(CREATE_MAPPING, MSHAREFS_CREATE_MAPPING) X(UNMAP, MSHAREFS_UNMAP)                      \
	X(GET_SIZE, MSHAREFS_GET_SIZE) X(SET_SIZE, MSHAREFS_SET_SIZE)                            \
	X(CREATE_AT, MSHAREFS_CREATE_AT) X(UNMAP_AT, MSHAREFS_UNMAP_AT)

#define NR_MARK 1000000

struct entry {
	const char *name;
	u64 value;
};

#define STRING_ENTRY(name, value) { #name, value },
static const struct entry calls[] = { CALLS(STRING_ENTRY) { NULL, 0 } };
static const struct entry constants[] = { CONSTANTS(STRING_ENTRY) GUEST_SIGNALS(STRING_ENTRY) { NULL, 0 } };

/* A word of the script. */
struct word {
	const char *start;
	size_t size;
};

#define MAX_NAMES 64
#define MAX_WORDS 32

static char script[65536];
static u64 arena[16384]; /* strings and buffers, for as long as their statement may be repeated */
static size_t arena_used; /* in words */
static struct word names[MAX_NAMES];
static u64 values[MAX_NAMES];
static u64 nr_names;

__attribute__((noreturn)) static void bad(const char *what, struct word word)
{
	char text[80];
	size_t n = word.size < sizeof(text) - 1 ? word.size : sizeof(text) - 1;

	memcpy(text, word.start, n);
	text[n] = 0;
	complain("calls: %s: %s\n", what, text);
	sys_exit_group(2);
}

/* ---- words ---- */

static int is(struct word word, const char *text)
{
	for (size_t i = 0; i < word.size; i++)
		if (word.start[i] != text[i])
			return 0;
	return !text[word.size];
}

static int same(struct word a, struct word b)
{
	if (a.size != b.size)
		return 0;
	for (size_t i = 0; i < a.size; i++)
		if (a.start[i] != b.start[i])
			return 0;
	return 1;
}

static const char *skip_string(const char *p)
{
	for (p++; *p && *p != '"'; p++)
		p += *p == '\\' && p[1];
	return *p ? p + 1 : p;
}

/* Reads the words of one statement, and moves to the next statement. */
static int statement(const char **at, struct word *words)
{
	const char *p = *at;
	int n = 0;

	for (;;) {
		while (*p == ' ' || *p == '\t')
			p++;
		if (*p == '#')
			while (*p && *p != '\n')
				p++;
		if (!*p || *p == '\n' || *p == ';')
			break;
		words[n].start = p;
		while (*p && *p != ' ' && *p != '\t' && *p != '\n' && *p != ';' && *p != '#')
			p = *p == '"' ? skip_string(p) : p + 1;
		words[n].size = p - words[n].start;
		if (++n == MAX_WORDS)
			bad("too many words", words[0]);
	}
	*at = *p ? p + 1 : p;
	return n;
}

/* What follows the "end" that belongs to a block. */
static const char *after_block(const char *at)
{
	struct word words[MAX_WORDS];
	int depth = 1;

	while (depth && *at)
		if (statement(&at, words)) {
			depth += is(words[0], "fork") || is(words[0], "@fork") || is(words[0], "repeat") ||
				 is(words[0], "thread") || is(words[0], "@thread");
			depth -= is(words[0], "end");
		}
	return at;
}

/* ---- values ---- */

static void *allocate(size_t size)
{
	u64 *memory = arena + arena_used;

	arena_used += (size + 8) / 8; /* a byte more: strings end with 0 */
	if (arena_used > sizeof(arena) / sizeof(arena[0]))
		bad("out of memory", (struct word){ "", 0 });
	memset(memory, 0, size + 1);
	return memory;
}

static u64 string(struct word word)
{
	char *text = allocate(word.size), *to = text;

	for (const char *p = word.start + 1; p < word.start + word.size - 1; p++) {
		if (*p == '\\' && *++p != '"' && *p != '\\')
			*to++ = *p == 'n' ? '\n' : *p == '0' ? 0 : *p;
		else
			*to++ = *p;
	}
	return (u64)text;
}

static u64 number(struct word word)
{
	const char *p = word.start, *end = p + word.size, *suffix = "KMGT";
	u64 base = 10, value = 0;

	if (*p == '0' && p + 1 < end)
		base = p[1] == 'x' ? 16 : 8, p += base == 16 ? 2 : 1;
	for (; p < end; p++) {
		u64 digit = *p >= 'a' ? *p - 'a' + 10 : *p - '0'; /* anything else is too large */

		if (digit >= base)
			break;
		value = value * base + digit;
	}
	for (int shift = 10; p == end - 1 && *suffix; suffix++, shift += 10)
		if (*p == *suffix)
			value <<= shift, p++;
	if (p != end)
		bad("not a number", word);
	return value;
}

static const struct entry *find(const struct entry *table, struct word word)
{
	for (; table->name; table++)
		if (is(word, table->name))
			return table;
	return NULL;
}

static u64 term(struct word word)
{
	const struct entry *constant;

	if (word.size && *word.start == '"')
		return string(word);
	if (word.size && *word.start >= '0' && *word.start <= '9')
		return number(word);
	for (u64 i = 0; i < nr_names; i++)
		if (same(names[i], word))
			return values[i];
	constant = find(constants, word);
	if (!constant)
		bad("no such name", word);
	return constant->value;
}

static u64 value(struct word word)
{
	const char *p = word.start, *end = p + word.size;
	u64 result = 0;
	char operator = '+';

	if (*p == '-')
		operator = *p++;
	for (;;) {
		struct word part = { p, 0 };
		u64 right;

		while (p < end && *p != '+' && *p != '-' && *p != '|')
			p = *p == '"' ? skip_string(p) : p + 1;
		part.size = p - part.start;
		right = term(part);
		result = operator == '+' ? result + right : operator == '-' ? result - right : result | right;
		if (p >= end)
			return result;
		operator = *p++;
	}
}

static void keep(struct word name, u64 result)
{
	u64 i = 0;

	while (i < nr_names && !same(names[i], name))
		i++;
	if (i == MAX_NAMES)
		bad("too many names", name);
	names[i] = name;
	values[i] = result;
	nr_names += i == nr_names;
}

/* ---- accesses that may fault ---- */

/*
 * probe(instruction, a, b) calls one of the three below; the handler lets it return
 * with `signalled` set where that faults.
 */
u64 probe(const void *instruction, u64 a, u64 b);
u64 probe_sp __attribute__((used));
extern const u8 probe_load[], probe_store[], probe_jump[], probe_push[], probe_end[] __attribute__((visibility("hidden")));

__asm__(".text\n"
	"probe:\n"
	"	push %rbx\n"
	"	mov %rsp, probe_sp(%rip)\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %rdi\n"
	"	call *%rax\n"
	"probe_end:\n"
	"	mov probe_sp(%rip), %rsp\n"
	"	movq $0, probe_sp(%rip)\n"
	"	pop %rbx\n"
	"	ret\n"
	"probe_load:	mov (%rdi), %rax\n"
	"	ret\n"
	"probe_store:	mov %rdx, (%rdi)\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	"probe_jump:	call *%rdi\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	"probe_push:	push %rax\n"
	"	jmp probe_push\n");

static volatile int signalled, signal_code;
static volatile u64 signal_address;
static u64 handler_stack[2048];

static void handler(int signo, struct siginfo *info, struct ucontext *context)
{
	if (!probe_sp) {
		complain("calls: an unexpected %s at 0x%lx\n", signal_name(signo), context->rip);
		sys_exit_group(128 + signo);
	}
	signalled = signo;
	signal_code = info->code;
	signal_address = info->address;
	context->rip = (u64)probe_end;
}

static const char *signal_text(void)
{
	if (signal_code == SI_KERNEL)
		return signal_name(signalled);
	if (signalled == SIGSEGV)
		return signal_code == SEGV_MAPERR ? "SEGV_MAPERR" : signal_code == SEGV_ACCERR ? "SEGV_ACCERR" : "SEGV_OTHER";
	return signalled == SIGBUS && signal_code == BUS_ADRERR ? "BUS_ADRERR" : signal_name(signalled);
}

/* ---- threads ---- */

#define MAX_THREADS 16

static struct {
	long number;
	volatile int tid;
} threads[MAX_THREADS];
static int nr_threads;
static volatile u32 taken; /* by the thread whose statement it is */

static void take(void)
{
	u32 was = 1;

	for (;;) {
		__asm__ volatile("xchg %0, %1" : "+r"(was), "+m"(taken) : : "memory");
		if (!was)
			return;
		sys_sched_yield();
	}
}

static void give(void)
{
	taken = 0;
}

/* A system call during which other threads may do their statements. */
static u64 waiting_call(u64 number, const u64 *v)
{
	u64 result;

	give();
	result = syscall6(number, v[0], v[1], v[2], v[3], v[4], v[5]);
	take();
	return result;
}

/* ---- the operations that are no system calls ---- */

#define NR_ARGUMENTS 8

static char result_text[1024]; /* what is printed instead of the number, if not empty */

static u64 do_probe(const void *instruction, const u64 *v)
{
	u64 result;

	signalled = 0;
	result = probe(instruction, v[0], v[1]);
	if (signalled) {
		struct output out = { -1, 0, "" };
		long off = signal_address - v[0];

		output_string(&out, signal_text());
		if (off && signal_code != SI_KERNEL) {
			output_string(&out, off > 0 ? " at +" : " at ");
			output_signed(&out, off);
		}
		memcpy(result_text, out.text, out.used);
		result_text[out.used] = 0;
	}
	return result;
}

static u64 op_load(const u64 *v) { return do_probe(probe_load, v); }
static u64 op_store(const u64 *v) { return do_probe(probe_store, v); }
static u64 op_jump(const u64 *v) { return do_probe(probe_jump, v); }

static u64 op_touch(const u64 *v)
{
	for (u64 at = 0; at < v[1]; at += PAGE_SIZE)
		*(volatile u8 *)(v[0] + at) = 1;
	return 0;
}

static u64 op_scan(const u64 *v)
{
	u64 sum = 0;

	for (u64 at = 0; at < v[1]; at += PAGE_SIZE)
		sum += *(volatile u8 *)(v[0] + at);
	return sum;
}

static u64 op_text(const u64 *v)
{
	memcpy(result_text, (char *)v[0], strlen((char *)v[0]) + 1);
	return v[0];
}

static u64 op_bytes(const u64 *v) { return (u64)allocate(v[0]); }

static u64 create(u64 command, const u64 *v)
{
	struct mshare_create object = { v[1], v[2], v[6], v[3], v[4], v[5], 0 };

	return sys_ioctl(v[0], command, &object);
}

static u64 op_create(const u64 *v) { return create(MSHAREFS_CREATE_MAPPING, v); }
static u64 op_create_at(const u64 *v) { return create(MSHAREFS_CREATE_AT, v); }

static u64 range(u64 command, const u64 *v)
{
	struct mshare_unmap range = { v[1], v[2] };

	return sys_ioctl(v[0], command, &range);
}

static u64 op_unmap(const u64 *v) { return range(MSHAREFS_UNMAP, v); }
static u64 op_unmap_at(const u64 *v) { return range(MSHAREFS_UNMAP_AT, v); }
static u64 op_set_size(const u64 *v) { return range(MSHAREFS_SET_SIZE, v); }

static u64 op_place(const u64 *v)
{
	struct mshare_map_args object = { v[1], v[2], v[6], v[3], v[4], v[5], 0 };

	return sys_mshare_map(v[0], &object, sizeof(object));
}

static u64 op_wait(const u64 *v)
{
	int status = 0;
	u64 arguments[6] = { v[0], (u64)&status };
	long pid = waiting_call(__NR_wait4, arguments);

	result_text[0] = 0;
	if (pid < 0)
		return pid;
	if (killed_by(status)) {
		memcpy(result_text, "killed ", 7);
		memcpy(result_text + 7, signal_name(killed_by(status)), 10);
	}
	return exited(status);
}

static u64 op_await(const u64 *v)
{
	while (*(volatile u64 *)v[0] != v[1]) {
		give();
		sys_sched_yield();
		take();
	}
	result_text[0] = 0;
	return v[1];
}

static u64 op_join(const u64 *v)
{
	for (int i = 0; i < nr_threads; i++)
		if (threads[i].number == (long)v[0]) {
			give();
			join_thread(&threads[i].tid);
			take();
			result_text[0] = 0;
			return 0;
		}
	return -(u64)ESRCH;
}

static u64 op_on(const u64 *v)
{
	struct sigaction action = { (void *)v[1], SA_RESTORER, guest_restorer, 0 };

	return sys_rt_sigaction(v[0], &action, NULL);
}

#define MAX_CONTENTS 32768

/* The whole of a file, or as much as there is room for, as a string. The caller frees the arena. */
static const char *contents(const char *path)
{
	char *text = allocate(MAX_CONTENTS);
	long fd = sys_open(path, O_RDONLY, 0), got, used = 0;

	must(fd, "open");
	while ((got = sys_read(fd, text + used, MAX_CONTENTS - 1 - used)) > 0)
		used += got;
	sys_close(fd);
	text[used] = 0;
	return text;
}

static u64 hexadecimal(const char **at)
{
	u64 result = 0;

	for (;; (*at)++) {
		char c = **at;
		int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

		if (digit < 0)
			return result;
		result = result * 16 + digit;
	}
}

static u64 op_maps(const u64 *v)
{
	struct output out = { -1, 0, "" };
	size_t arena_before = arena_used;
	const char *p = contents("/proc/self/maps");

	arena_used = arena_before;
	while (*p) {
		u64 start = hexadecimal(&p), end;
		const char *rights;

		p++;
		end = hexadecimal(&p);
		rights = ++p;
		p += 5;
		if (start < v[0] + v[1] && end > v[0] && out.used < sizeof(result_text) - 64) {
			if (out.used)
				output_string(&out, ", ");
			output_number(&out, start - v[0], 16);
			output_char(&out, '-');
			output_number(&out, end - v[0], 16);
			output_char(&out, ' ');
			for (int i = 0; i < 4; i++)
				output_char(&out, rights[i]);
			output_char(&out, ' ');
			output_number(&out, hexadecimal(&p), 16);
		}
		while (*p && *p++ != '\n')
			;
	}
	memcpy(result_text, out.used ? out.text : "nothing", out.used ? out.used : 8);
	result_text[out.used ? out.used : 7] = 0;
	return 0;
}

static u64 op_field(const u64 *v)
{
	size_t arena_before = arena_used;
	const char *p = contents((const char *)v[0]), *name = (const char *)v[1];
	size_t n = strlen(name);
	u64 result = 0;

	arena_used = arena_before;
	for (;;) {
		size_t i = 0;

		while (i < n && p[i] == name[i])
			i++;
		if (i == n && p[n] == ':')
			break;
		while (*p && *p++ != '\n')
			;
		if (!*p)
			return -(u64)ENOENT;
	}
	for (p += n + 1; *p == ' ' || *p == '\t'; p++)
		;
	while (*p >= '0' && *p <= '9')
		result = result * 10 + *p++ - '0';
	return result;
}

static u64 op_minor(const u64 *v)
{
	static u64 rusage[18], last;
	u64 before = last;

	(void)v;
	must(syscall3(98, 0, (u64)rusage, 0), "getrusage");
	last = rusage[8];
	return last - before;
}

static u64 op_mark(const u64 *v) { return syscall3(NR_MARK, v[0], 0, 0); }

static u64 op_recurse(const u64 *v)
{
	u64 result = do_probe(probe_push, v);

	memcpy(result_text, signal_text(), 12); /* where the stack ends is not ours to say */
	return result;
}

static u64 op_say(const u64 *v) { return v[0]; }
static u64 op_mod(const u64 *v) { return v[0] % v[1]; }
static u64 op_syscall(const u64 *v)
{
	u64 result = waiting_call(v[0], v + 1);

	result_text[0] = 0;
	return result;
}

static const struct operation {
	const char *name;
	u64 (*run)(const u64 *values);
} operations[] = {
	{ "load", op_load }, { "store", op_store }, { "jump", op_jump }, { "touch", op_touch },
	{ "scan", op_scan }, { "text", op_text }, { "bytes", op_bytes }, { "create", op_create },
	{ "unmap", op_unmap }, { "wait", op_wait }, { "await", op_await }, { "on", op_on },
	{ "minor", op_minor }, { "mark", op_mark }, { "recurse", op_recurse }, { "say", op_say },
	{ "mod", op_mod }, { "syscall", op_syscall }, { "create_at", op_create_at },
	{ "unmap_at", op_unmap_at }, { "set_size", op_set_size }, { "place", op_place },
	{ "maps", op_maps }, { "field", op_field }, { "join", op_join },
};

/* ---- running ---- */

static u64 operate(struct word name, const struct word *words, int n)
{
	const struct entry *call = find(calls, name);
	u64 v[NR_ARGUMENTS] = { 0 };

	if (is(name, "words")) {
		u64 *memory = allocate(8 * n);

		for (int i = 0; i < n; i++)
			memory[i] = value(words[i]);
		return (u64)memory;
	}
	if (n > NR_ARGUMENTS)
		bad("too many values", name);
	if (is(name, "create") || is(name, "create_at") || is(name, "place"))
		v[5] = MSHARE_NO_FD;
	for (int i = 0; i < n; i++)
		v[i] = value(words[i]);
	if (call) {
		u64 result = waiting_call(call->value, v);

		result_text[0] = 0;
		return result;
	}
	for (u64 i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (is(name, operations[i].name))
			return operations[i].run(v);
	bad("no such operation", name);
}

static void show(struct word label, long result)
{
	struct output out = { 1, 0, "" };

	for (size_t i = 0; i < label.size; i++)
		output_char(&out, label.start[i]);
	output_string(&out, " = ");
	if (result_text[0]) {
		output_string(&out, result_text);
	} else if (is_error(result) && errno_name(-result)) {
		output_string(&out, errno_name(-result));
	} else if (result < 1 << 20) {
		output_signed(&out, result);
	} else {
		output_string(&out, "0x");
		output_number(&out, result, 16);
	}
	output_char(&out, '\n');
	output_flush(&out);
}

static const char *run(const char *at);

static const char *run_child(const char *at, struct word name, int quiet)
{
	long pid = sys_fork();

	if (pid == 0) {
		run(at);
		sys_exit_group(0);
	}
	keep(name, pid);
	result_text[0] = 0;
	if (!quiet)
		show(name, pid);
	return after_block(at);
}

static const struct sigstack probe_stack = { handler_stack, 0, sizeof(handler_stack) };

static int thread_main(u64 at)
{
	take();
	sys_sigaltstack(&probe_stack, NULL); /* one is enough: only the thread whose statement it is probes */
	run((const char *)at);
	give();
	return 0;
}

static const char *run_thread(const char *at, struct word name, int quiet)
{
	long tid;

	if (nr_threads == MAX_THREADS)
		bad("too many threads", name);
	tid = start_thread(thread_main, (u64)at, &threads[nr_threads].tid, 0, 0);
	threads[nr_threads].number = tid;
	nr_threads += !is_error(tid);
	keep(name, tid);
	result_text[0] = 0;
	if (!quiet)
		show(name, tid);
	return after_block(at);
}

static const char *repeat(const char *at, u64 times)
{
	size_t used = arena_used;

	for (u64 i = 0; i < times; i++) {
		arena_used = used;
		run(at);
	}
	return after_block(at);
}

/* Runs to the "end" of a block, or of the script. Returns what follows. */
static const char *run(const char *at)
{
	struct word words[MAX_WORDS], *name, label;
	int n, quiet;
	u64 result;

	while (*at) {
		n = statement(&at, words);
		if (!n)
			continue;
		quiet = *words[0].start == '@';
		words[0].start += quiet;
		words[0].size -= quiet;
		if (is(words[0], "end"))
			return at;
		if (is(words[0], "fork") && n == 2) {
			at = run_child(at, words[1], quiet);
			continue;
		}
		if (is(words[0], "thread") && n == 2) {
			at = run_thread(at, words[1], quiet);
			continue;
		}
		if (is(words[0], "repeat") && n == 2) {
			at = repeat(at, value(words[1]));
			continue;
		}
		label = words[0];
		name = n > 2 && is(words[1], "=") ? words + 2 : words;
		result_text[0] = 0;
		result = operate(*name, name + 1, words + n - name - 1);
		if (name != words)
			keep(label, result);
		if (!quiet)
			show(label, result);
	}
	return at;
}

int main(int argc, char **argv, char **envp)
{
	size_t used = 0;
	long n;

	(void)envp;
	while (argc == 1 && (n = must(sys_read(0, script + used, sizeof(script) - 1 - used), "read")) > 0)
		used += n;
	must(sys_sigaltstack(&probe_stack, NULL), "sigaltstack");
	on_signal(SIGSEGV, handler, SA_SIGINFO | SA_ONSTACK, 0);
	on_signal(SIGBUS, handler, SA_SIGINFO | SA_ONSTACK, 0);
	take();
	run(argc > 1 ? argv[1] : script);
	return 0;
}
