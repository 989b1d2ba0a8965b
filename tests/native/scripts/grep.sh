# grep: counts, lists, regular expressions
grep -c : /etc/passwd
grep -rl root: /etc/passwd
printf 'ab\ncd\n' | grep -nE 'c(d|x)'
