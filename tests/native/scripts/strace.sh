# strace: the calls of a shell and its children, of one that is attached to, and a summary
norm() { sed -E 's/0x[0-9a-f]+/ADDR/g; s/[0-9]{3,}/N/g; s/ +=/ =/'; }
strace -o t1 -e trace=execve,openat,close,write,exit_group,wait4,dup2,pipe,pipe2 sh -c 'echo a > f; cat f; exit 4'
echo $?
norm < t1 | grep -v 'si_pid\|wait4\|clone' | head -40
strace -f -o t2 -e trace=write,exit_group sh -c 'echo b; (echo c; exit 5); kill -USR1 $$'
echo $?
sed -E 's/^[0-9]+ +//' t2 | norm | grep -v 'si_pid'
sleep 10 & sleeper=$!
strace -o t3 -p $sleeper 2> t3e & tracer=$!
while ! grep -q attached t3e 2> /dev/null; do sleep 0.05; done
kill -TERM $sleeper
wait $tracer
echo $?
grep -c 'killed by SIGTERM' t3
strace -c -o t4 true
grep -c execve t4
