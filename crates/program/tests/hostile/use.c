// Uses up one thing until it has so many, it is refused or the program is ended: what (memory and shared in MiB, threads,
// forks, files), how many. `exec` executes the rest of its arguments. `cpu` spins, `wait` waits, `native` asks a native
// shell for its limit of open files. `keeper` takes the limits of the process that keeps ours away from it, then spins.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20 };
static int most;

// Writes a byte into each page: only then the memory is used.
static int memory(int flags) {
  int got = 0;
  for (; got < most; got++) {
    char *p = mmap(0, MIB, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) break;
    for (int i = 0; i < MIB; i += 4096) p[i] = 1;
  }
  return got;
}

static void *sleeper(void *unused) {
  for (;;) pause();
  return unused;
}

static int threads(void) {
  int got = 0;
  pthread_t t;
  while (got < most && !pthread_create(&t, 0, sleeper, 0)) got++;
  return got;
}

// Children wait for the end of a pipe, so that none outlives the test.
static int forks(void) {
  int ends[2], got = 0;
  char c;
  if (pipe(ends)) return -1;
  for (; got < most; got++) {
    pid_t pid = fork();
    if (pid < 0) break;
    if (pid == 0) {
      close(ends[1]);
      while (read(ends[0], &c, 1) > 0) {
      }
      _exit(0);
    }
  }
  close(ends[1]);
  while (wait(0) > 0) {
  }
  return got;
}

static int files(void) {
  int got = 0;
  while (got < most && open("/dev/null", O_RDONLY) >= 0) got++;
  return got;
}

// Several processes that spin: the limit is for all of them.
static void cpu(void) {
  fork();
  fork();
  for (volatile long i = 0;; i++) {
  }
}

// The keeper, by its name: without CPU time it dies, without descriptors it cannot look.
static void keeper(void) {
  DIR *all = opendir("/proc");
  for (struct dirent *one; (one = readdir(all));) {
    char path[300], name[32] = {0};
    snprintf(path, sizeof path, "/proc/%s/comm", one->d_name);
    int fd = open(path, O_RDONLY);
    if (fd < 0) continue;
    read(fd, name, sizeof name - 1);
    close(fd);
    struct rlimit none = {0, 0};
    if (!strcmp(name, "trine-keeper\n"))
      printf("keeper %s\n", prlimit(atoi(one->d_name), RLIMIT_NOFILE, &none, 0) ? strerror(errno) : "ok");
  }
  fflush(stdout);
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  most = argc > 2 ? atoi(argv[2]) : 0;
  int got = -1;
  if (!strcmp(what, "memory")) got = memory(MAP_PRIVATE);
  if (!strcmp(what, "shared")) got = memory(MAP_SHARED);
  if (!strcmp(what, "keeper")) keeper(), cpu();
  if (!strcmp(what, "threads")) got = threads();
  if (!strcmp(what, "forks")) got = forks();
  if (!strcmp(what, "files")) got = files();
  if (!strcmp(what, "cpu")) cpu();
  if (!strcmp(what, "wait")) pause();
  if (!strcmp(what, "exec") && argc > 2) execv(argv[2], argv + 2);
  if (!strcmp(what, "native")) execl("/bin/sh", "sh", "-c", "ulimit -n", (char *)0);
  // No buffers: memory may be gone.
  char line[64];
  int n = snprintf(line, sizeof line, "%s %d\n", what, got);
  if (write(1, line, n) != n) return 1;
  _exit(0);
}
