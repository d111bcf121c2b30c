/* What the test of core dumps lets crash: a thread deep in a recursion, one that waits and one that does not. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

volatile long counter;
volatile int *shared;
char *text;
const char *end = "segv";
static pthread_barrier_t barrier;

static void *sleeper(void *unused)
{
	printf("sleeper %d\n", gettid());
	pthread_barrier_wait(&barrier);
	for (;;)
		pause();
	return unused;
}

static void *spinner(void *unused)
{
	printf("spinner %d\n", gettid());
	pthread_barrier_wait(&barrier);
	for (;;)
		counter++;
	return unused;
}

static void crash(void)
{
	if (!strcmp(end, "abort"))
		abort();
	if (!strcmp(end, "trap"))
		__asm__ volatile("ebreak");
	if (!strcmp(end, "wait"))
		for (;;)
			pause();
	/* Known values in registers, then a store to nowhere. */
	__asm__ volatile("li s11, 0x5eed\n"
			 "fmv.d.x fs11, s11\n"
			 "sd zero, 8(zero)\n" ::
				 : "s11", "fs11", "memory");
}

long down(long depth)
{
	volatile long local = depth * 3;
	if (depth == 0)
		crash();
	else
		local += down(depth - 1);
	return local;
}

static long child(void)
{
	return down(4);
}

int main(int argc, char **argv)
{
	pthread_t threads[2];
	setbuf(stdout, 0);
	if (argc > 1)
		end = argv[1];
	text = strdup("in the heap");
	shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	shared[3] = 1234;
	/* Memory that nothing may touch, as allocators and virtual machines reserve it. */
	if (mmap(0, 16L << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		return 1;
	if (!strcmp(end, "fork") || !strcmp(end, "vfork")) {
		pid_t pid = !strcmp(end, "fork") ? fork() : vfork();
		if (pid == 0)
			child();
		int status;
		waitpid(pid, &status, 0);
		printf("main %d\nstatus %d\n", pid, WTERMSIG(status));
		return 7;
	}
	if (!strcmp(end, "raised")) {
		struct rlimit limit = { 1 << 30, RLIM_INFINITY };
		if (setrlimit(RLIMIT_CORE, &limit))
			return 1;
	}
	pthread_barrier_init(&barrier, 0, 3);
	pthread_create(&threads[0], 0, sleeper, 0);
	pthread_create(&threads[1], 0, spinner, 0);
	pthread_barrier_wait(&barrier);
	usleep(20000);
	printf("main %d\ntext %p\n", gettid(), text);
	return (int)down(5);
}
