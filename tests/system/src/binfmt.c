// What the tests of `trine binfmt` start, for riscv64 and for the host's CPU.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

// Executes a copy of `file` that has no name.
static int nameless(const char *file) {
    static char part[1 << 16];
    int from = open(file, O_RDONLY), to = memfd_create("copy", 0);
    for (ssize_t n; (n = read(from, part, sizeof part)) > 0;) write(to, part, n);
    char *args[] = {"copy", "who", NULL};
    syscall(SYS_execveat, to, "", args, environ, AT_EMPTY_PATH);
    perror("execveat");
    return 3;
}

int main(int n, char **v) {
    if (n > 1 && !strcmp(v[1], "who")) {
        // The lowest descriptor that is free: none of the monitor's is below it.
        printf("%s: secure %lu, variable %d, user %d, free %d\n", v[0], getauxval(AT_SECURE),
               secure_getenv("VARIABLE") != NULL, geteuid(), dup(1));
        return 0;
    }
    if (n > 2 && !strcmp(v[1], "nameless")) return nameless(v[2]);
    if (n > 2 && !strcmp(v[1], "start")) return execl(v[2], "started", "who", (char *)0);
    for (int i = 0; i < n; i++) printf("[%s]", i ? v[i] : "0");
    printf("\n");
    fflush(stdout);
    if (n == 3) execl(v[0], v[0], "again", (char *)0);
    return n == 2 ? 0 : 1;
}
