# bash: job control with set -m: stopping, going on, waiting
set -m
sleep 30 &
first=$!
kill -STOP $first
while [[ $(jobs -l %1) != *Stopped* ]]; do :; done
jobs %1
bg %1 > /dev/null
jobs -r %1 | cut -c1-14
kill %1
wait $first
echo "ended with $?"
(trap 'exit 7' USR1; kill -STOP $BASHPID; exit 1) &
second=$!
state=R
while [[ $state != T ]]; do read -r _ _ state _ < /proc/$second/stat; done
kill -USR1 $second
kill -CONT $second
while kill -0 $second 2> /dev/null; do :; done
wait $second
echo "then $?"
sleep 0.1 | sleep 0.1 &
wait %%
echo $?
