# awk: fields, arrays, pipes
awk -F: '{n[length($1) % 2]++} END {for (k in n) print k, n[k] | "sort"}' /etc/passwd
awk 'BEGIN {"echo x" | getline l; print toupper(l), 1 / 3}'
