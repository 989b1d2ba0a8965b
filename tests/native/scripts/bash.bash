# bash: arrays, functions, here-documents, traps, process substitution
a=(3 1 2)
printf '%s\n' "${a[@]}" | sort -n | paste -sd,
for i in {1..3}; do echo $((i ** 2)); done | tail -1
f() { local x=$1; return $x; }
f 7
echo $?
cat <<E
here $((1 + 1))
E
read -r x y <<< "p q"
echo "$y$x"
diff <(echo a) <(echo b)
trap 'echo bye' EXIT
(exit 3)
echo $?
sleep 0.01 & wait $!
echo $?
[[ abc =~ b(.) ]] && echo "${BASH_REMATCH[1]}"
declare -A m=([k]=v)
echo "${m[k]}"
