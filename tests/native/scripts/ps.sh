# ps: a process, from /proc
ps -o comm= -p $$
