# make: rules, times, two jobs
printf 'all: out\nout: a b\n\tcat a b > out\na b:\n\techo $@ > $@\nclean:; rm -f a b out\n.PHONY: all clean\n' > Makefile
make -j2 --output-sync | sort
cat out
make -s
touch -d '+1 hour' a
make -n
make clean
