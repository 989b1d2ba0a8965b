# perf: counts faults, switches and clocks of commands and their children
count() { perf stat -x, -e "$1" sh -c 'for n in 1 2 3; do /bin/true; done' 2>&1 >/dev/null | awk -F, '{ print $3, ($1 > 0 ? "some" : $1) }'; }
count page-faults,task-clock,context-switches,alignment-faults
count cycles:u,page-faults:u
perf stat -x, -e page-faults,minor-faults,major-faults true 2>&1 | awk -F, '{ n[$3] = $1 } END { print (n["page-faults"] == n["minor-faults"] + n["major-faults"] ? "add up" : "do not add up") }'
perf stat -x, -e nothing true 2>/dev/null
echo $?
