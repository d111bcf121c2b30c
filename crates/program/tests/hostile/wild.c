// Every system call with wild arguments, from a fixed seed, each handful in a child. The monitor must not panic, and a
// child ends only by itself or by a signal that a program may get. Arguments: rounds of each call, calls of each round.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NUMBERS = 471, PAGE = 4096 };

// Calls that would by right end this process, signal others, wait for the disk, or leave things behind in the host.
static const int SKIPPED[] = {
    SYS_exit,         SYS_exit_group,    SYS_kill,   SYS_tkill,  SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo,
    SYS_pidfd_send_signal, SYS_sync,     SYS_syncfs, SYS_fsync,  SYS_fdatasync, SYS_shmget,       SYS_msgget,
    SYS_semget,       SYS_mq_open,       SYS_setpriority,        SYS_ioprio_set,
};

static uint64_t state;
static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static char *pages;  // Three pages: writable, writable, none.
static char *fixed;  // A page that can be read only.

static uint64_t argument(void) {
  const uint64_t some[] = {
      0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 64, 128, 4096, 4095, 0x10000, -1, -2, -100, -4096, INT32_MIN, INT32_MAX,
      UINT32_MAX, 1ul << 30, 1ul << 46, 1ul << 63, ~(1ul << 63), (uint64_t)pages, (uint64_t)pages + 1,
      (uint64_t)pages + PAGE, (uint64_t)pages + 2 * PAGE - 1, (uint64_t)pages + 2 * PAGE - 8,
      (uint64_t)pages + 2 * PAGE, (uint64_t)fixed, (uint64_t)fixed + PAGE - 3, (uint64_t) "file", (uint64_t) "/",
      (uint64_t) "/proc/self/maps", (uint64_t) "", 0x1000, 0xdead0000, (1ul << 38) - 8, 1ul << 38, (1ul << 38) + 64,
      0x555555554000, 0x7ffff7dd0123, 0x7ffffffff000, 1ul << 47, 0xffff800000000000, 0xffffffff81000000, ~7ul,
  };
  switch (next() % 8) {
    case 0: return 1ul << next() % 64;
    case 1: return next() >> next() % 64;
    default: return some[next() % (sizeof some / sizeof *some)];
  }
}

static void on_alarm(int signal) { (void)signal; }

static void child(int number, int round, int calls) {
  pid_t self = getpid();
  struct sigaction action = {.sa_handler = on_alarm};
  struct itimerval often = {{0, 2000}, {0, 2000}};
  sigaction(SIGALRM, &action, 0);
  state = 0x9e3779b97f4a7c15u * (number * 1000 + round + 1);
  pages = mmap(0, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(pages + 2 * PAGE, PAGE, PROT_NONE);
  fixed = mmap(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  // Structures full of other wild values.
  for (int i = 0; i < 2 * PAGE / 8; i++) ((uint64_t *)pages)[i] = round & 1 ? 0 : argument();
  setitimer(ITIMER_REAL, &often, 0);
  for (int i = 0; i < calls; i++) {
    uint64_t a[6];
    for (int j = 0; j < 6; j++) a[j] = argument();
    // Limits of this process only: others of this user would get them.
    if (number == SYS_prlimit64) a[0] = 0;
    // A grandchild's end would by right end this process, by the signal that is asked for.
    if (number == SYS_clone) a[0] = (a[0] & ~0xfful) | SIGCHLD;
    syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (getpid() != self || (pid_t)syscall(SYS_gettid) != self) syscall(SYS_exit_group, 0);
  }
  syscall(SYS_exit_group, 0);
}

static int wait_for(pid_t pid) {
  int status;
  struct timespec moment = {0, 500000};
  for (int i = 0; i < 6000; i++) {
    if (waitpid(pid, &status, WNOHANG) == pid) return status;
    nanosleep(&moment, 0);
  }
  // What waits with all signals blocked is ended.
  kill(pid, SIGKILL);
  waitpid(pid, &status, 0);
  return status;
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 8, calls = argc > 2 ? atoi(argv[2]) : 40, only = argc > 3 ? atoi(argv[3]) : -1;
  struct rlimit size = {256 << 20, 256 << 20}, space = {4ul << 30, 4ul << 30}, core = {0, 0};
  setrlimit(RLIMIT_FSIZE, &size);
  setrlimit(RLIMIT_AS, &space);
  setrlimit(RLIMIT_CORE, &core);
  // Descriptors 3 to 8: of several kinds.
  int ends[2];
  int file = open("file", O_RDWR);
  if (file < 0) file = open("file", O_RDONLY);
  if (file < 0 || open(".", O_RDONLY) < 0 || memfd_create("m", 0) < 0 || pipe(ends) ||
      socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) {
    perror("wild");
    return 2;
  }
  long children = 0, killed = 0, bad = 0;
  for (int number = 0; number < NUMBERS; number++) {
    int skip = only >= 0 && number != only;
    for (size_t i = 0; i < sizeof SKIPPED / sizeof *SKIPPED; i++) skip |= SKIPPED[i] == number;
    for (int round = 0; round < rounds && !skip; round++, children++) {
      pid_t pid = fork();
      if (pid < 0) {
        perror("fork");
        return 2;
      }
      if (pid == 0) child(number, round, calls);
      int status = wait_for(pid);
      killed += WIFSIGNALED(status);
      if (WIFEXITED(status) ? WEXITSTATUS(status) != 0 : WTERMSIG(status) == SIGABRT && number != SYS_clone3) {
        printf("call %d, round %d: status %#x\n", number, round, status);
        bad++;
      }
    }
  }
  printf("wild: %ld children with %d calls each, %ld ended by a signal, %ld wrong\n", children, calls, killed, bad);
  return bad != 0;
}
