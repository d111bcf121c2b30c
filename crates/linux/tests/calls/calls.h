// What all system-call tests share. A check prints one line, "NAME: RESULT"; NAME begins with the call's name, so that
// the table of calls can point at it. Results are the same on every run: no addresses, no process numbers, no times.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BAD ((void *)8) // an address where nothing is mapped
#define NOFD 777        // a descriptor that is not open

static long said(const char *name, long r) {
    if (r == -1)
        printf("%s: %s\n", name, strerrorname_np(errno) ? strerrorname_np(errno) : "unknown error");
    else
        printf("%s: %ld\n", name, r);
    return r;
}

// Prints what an expression in the manner of the C library gives.
#define CHECK(name, expr) (errno = 0, said(name, (long)(expr)))
// The same for a call by its number.
#define CALL(name, ...) CHECK(name, syscall(__VA_ARGS__))
// Prints only whether it succeeded, for results that differ from run to run.
#define WORKS(name, expr) (errno = 0, said(name, (long)(expr) == -1 ? -1 : 0))
// Prints something found.
#define SHOW(name, format, ...) printf(name ": " format "\n", __VA_ARGS__)

// Runs `f` in a child and prints how it ended.
static inline int ended(const char *name, void (*f)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        f();
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (WIFSIGNALED(status))
        printf("%s: killed by SIG%s\n", name, sigabbrev_np(WTERMSIG(status)));
    else
        printf("%s: exit %d\n", name, WEXITSTATUS(status));
    return status;
}

static inline void put_file(const char *path, const char *text) {
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        printf("cannot write %s\n", path);
    close(fd);
}

static inline void msleep(int ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) < 0 && errno == EINTR) {}
}

void run(void);

int main(int argc, char **argv) {
    (void)argc, (void)argv;
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(50);
    run();
    return 0;
}
