/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pthreads [THREADS [TURNS]]: create, join, a mutex, a condition, thread-local
 * variables, a key with a destructor, once, a barrier, and malloc in every thread.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static __thread long mine = 7;
static long counter, whose, destroyed, made_once;
static long number = 4, turns = 200;

static void destroy(void *value)
{
	pthread_mutex_lock(&mutex);
	destroyed += (long)value;
	pthread_mutex_unlock(&mutex);
}

static void make(void)
{
	made_once++;
	pthread_key_create(&key, destroy);
}

static void *work(void *argument)
{
	long me = (long)argument, wrong = 0;

	pthread_once(&once, make);
	pthread_setspecific(key, (void *)(me + 1));
	pthread_barrier_wait(&barrier);
	for (long i = 0; i < turns; i++) {
		char *text = malloc(100 + i);

		snprintf(text, 100, "%ld", me * turns + i);
		mine++;
		pthread_mutex_lock(&mutex);
		counter++;
		pthread_mutex_unlock(&mutex);
		wrong += strtol(text, NULL, 10) != me * turns + i;
		free(text);
	}
	for (long i = 0; i < 5; i++) { /* in turn, by the condition */
		pthread_mutex_lock(&mutex);
		while (whose != me)
			pthread_cond_wait(&turned, &mutex);
		whose = (whose + 1) % number;
		pthread_cond_broadcast(&turned);
		pthread_mutex_unlock(&mutex);
	}
	return (void *)(mine - 7 - turns - wrong + me * me);
}

int main(int argc, char **argv)
{
	pthread_t threads[64];
	long sum = 0;

	if (argc > 1)
		number = atol(argv[1]);
	if (argc > 2)
		turns = atol(argv[2]);
	if (number < 1 || number > 64)
		return 2;
	pthread_barrier_init(&barrier, NULL, number);
	for (long i = 0; i < number; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)i))
			return 1;
	for (long i = 0; i < number; i++) {
		void *result;

		pthread_join(threads[i], &result);
		sum += (long)result;
	}
	printf("pthreads: %ld threads, counter %ld, results %ld, destroyed %ld, once %ld, mine %ld\n", number, counter, sum,
	       destroyed, made_once, mine);
	return 0;
}
