/* What `cargo xtask test gdb` debugs: threads, a signal, and children that run over a breakpoint. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

volatile long counter;
volatile double ratio = 1.5;
volatile int handled;
static pthread_barrier_t barrier;

static void on_usr1(int signal)
{
	handled += signal;
}

static void *worker(void *name)
{
	prctl(PR_SET_NAME, name);
	pthread_barrier_wait(&barrier);
	for (;;)
		pause();
	return 0;
}

long add(long a, long b)
{
	long sum = a + b;
	counter = sum;
	return sum;
}

static void *many(void *rounds)
{
	for (long i = 0; i < (long)rounds; i++)
		add(i, i);
	return 0;
}

/* 100 calls of `add` by four threads at once, 20 by threads that end. */
static void crowd(void)
{
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], 0, many, (void *)25);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], 0);
	for (int i = 0; i < 20; i++) {
		pthread_create(&threads[0], 0, many, (void *)1);
		pthread_join(threads[0], 0);
	}
}

static int status_of(pid_t child)
{
	int status = 0;
	waitpid(child, &status, 0);
	return WEXITSTATUS(status);
}

static void children(void)
{
	pid_t child = fork();
	if (child == 0)
		_exit((int)add(20, 22));
	int forked = status_of(child);
	child = vfork();
	if (child == 0)
		_exit((int)add(20, 23));
	printf("children %d %d\n", forked, status_of(child));
}

int main(int argc, char **argv)
{
	const char *end = argc > 1 ? argv[1] : "";
	pthread_t threads[2];
	setbuf(stdout, 0);
	pthread_barrier_init(&barrier, 0, 3);
	signal(SIGUSR1, on_usr1);
	pthread_create(&threads[0], 0, worker, "first");
	pthread_create(&threads[1], 0, worker, "second");
	pthread_barrier_wait(&barrier);
	long sum = add(1, 2);
	ratio = ratio * 2;
	sum += add(3, 4);
	printf("sum %ld\n", sum);
	raise(SIGUSR1);
	printf("handled %d\n", handled);
	children();
	if (!strcmp(end, "loop"))
		while (sum)
			counter++;
	if (!strcmp(end, "sleep"))
		while (sum)
			pause();
	if (!strcmp(end, "crowd"))
		crowd();
	if (!strcmp(end, "crash"))
		*(volatile int *)0 = 1;
	if (!strcmp(end, "exec"))
		execl(argv[0], argv[0], (char *)0);
	printf("end %ld\n", counter);
	return 7;
}
