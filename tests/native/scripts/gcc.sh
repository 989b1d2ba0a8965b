# gcc: compiles, links and runs a program
printf '#include <stdio.h>\nint main(int c, char **v) { printf("%%d %%s\\n", c, v[1]); return 7; }\n' > h.c
gcc -O1 -o h h.c && ./h a
echo $?
nm h | grep -c ' main$'
size h > /dev/null
strip h
./h b
