#!/bin/sh
# Guess:   a program whose SIGSEGV handler steps over the load that faulted (as garbage collectors and JIT compilers do) does
#          the same under every tool of Valgrind's, and --vex-iropt-register-updates, which the manual has for programs that
#          need exact registers at exceptions, is there if one is in doubt.  cachegrind counts what was executed: with 8 more
#          instructions before each load, 8 more.
# Reality: under cachegrind and callgrind the RIP in the signal's frame is that of an earlier instruction, and the handler's
#          "+ 3" leads somewhere else: 1,000 loads fault 2,000 times, or 55,000, or the loop is left after 13, as many
#          instructions stand before the load.  Under lackey and none all is well.  cachegrind and callgrind ask for
#          sp-at-mem-access for the code of files, and --vex-iropt-register-updates is for other code then: what helps is
#          --px-file-backed, which --help-debug alone names.  With it callgrind's count is right, and cachegrind's still
#          leaves out what ran before a fault in its block: 8 more instructions before each load change nothing.
# Why it matters: counts of such programs are wrong without a word, and the program may not even run as it does elsewhere.
#          Hold counters against each other for programs without signals of their own.
# Seen with valgrind 3.19.0 of Debian 12.  Needs valgrind and gcc with a static libc.  Fails if that changes.
set -eu
for program in valgrind gcc; do
    command -v "$program" >/dev/null || { echo "$program is needed"; exit 2; }
done
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
cat >faults.c <<'C'
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>

static volatile long faults, turn; /* in memory: no register is needed after a fault */

static void step_over(int signal, siginfo_t *info, void *context)
{
	faults++;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 3; /* mov (%rax), %rdx has 3 bytes */
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = step_over, .sa_flags = SA_SIGINFO};

	sigaction(SIGSEGV, &action, 0);
	for (turn = 0; turn < 1000; turn++)
		__asm__ volatile(".rept " BEFORE "\n add $1, %%rcx\n .endr\n xor %%eax, %%eax\n mov (%%rax), %%rdx"
				 ::: "rax", "rcx", "rdx", "memory");
	printf("%ld faults\n", faults);
	return 0;
}
C
for before in 0 8 40; do
    gcc -O1 -static -DBEFORE="\"$before\"" faults.c -o "faults$before"
done

# under TOOL BEFORE [OPTIONS]: how many faults there were
under() {
    tool=$1 before=$2
    shift 2
    timeout 20 valgrind -q --tool="$tool" $out "$@" "./faults$before" 2>/dev/null || true
}
# counted TOOL BEFORE: the instructions that it counts, with the right registers
counted() {
    valgrind --tool="$1" $out --px-file-backed=unwindregs-at-mem-access "./faults$2" 2>&1 >/dev/null |
        sed -n 's/,//g; s/.* I *refs: *//p; s/.* guest instrs: *//p'
}
# expect WHAT SEEN EXPECTED, or "other than" what is not to be seen
expect() {
    printf '%-66s %s\n' "$1" "$2"
    case $3 in
        "other than "*) [ "other than $2" != "$3" ] ;;
        *) [ "$2" = "$3" ] ;;
    esac || { echo "this has changed: $3 was expected"; exit 1; }
}
right="1000 faults"
for tool in none lackey cachegrind callgrind; do
    case $tool in
        none | lackey) out="" seen=$right ;;
        *) out="--$tool-out-file=/dev/null" seen="other than $right" ;;
    esac
    for before in 0 8 40; do
        expect "$tool, $before instructions before each load" "$(under $tool $before)" "$seen"
        expect "  --vex-iropt-register-updates=allregs-at-each-insn" \
            "$(under $tool $before --vex-iropt-register-updates=allregs-at-each-insn)" "$seen"
        expect "  --px-file-backed=unwindregs-at-mem-access" \
            "$(under $tool $before --px-file-backed=unwindregs-at-mem-access)" "$right"
    done
done
for tool in lackey cachegrind callgrind; do
    [ $tool = lackey ] && out="" || out="--$tool-out-file=/dev/null"
    [ $tool = cachegrind ] && more=0 || more=8000
    expect "$tool, right registers: what it counts for 8000 more" $(($(counted $tool 8) - $(counted $tool 0))) $more
done
valgrind --version
