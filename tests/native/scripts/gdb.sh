# gdb: runs programs to a call, a breakpoint, a signal and their end, steps, looks at memory and registers
export DEBUGINFOD_URLS=
norm() { sed -E 's/0x[0-9a-f]+/ADDR/g; s/process [0-9]+/process N/; s/libthread_db.*/libthread_db/; s/  +/ /g'; }
gdb -nx -batch -iex 'set debug-file-directory /nowhere' -ex 'catch syscall write' -ex 'run a b' -ex 'print $orig_rax' -ex 'print (char) *(char *)$rsi' \
	-ex 'info inferiors' -ex 'delete 1' -ex 'break _exit' -ex continue -ex 'print $_siginfo.si_signo' \
	-ex 'stepi' -ex 'stepi' -ex 'print $_exitcode' -ex continue -ex 'print $_exitcode' \
	-ex delete -ex 'file /bin/sh' -ex "set args -c 'kill -USR1 \$\$; echo on; exit 3'" \
	-ex 'handle SIGUSR1 stop print' -ex run -ex 'signal 0' --args /bin/echo x 2> /dev/null | norm
