/* A guest for `cargo xtask test verbs`: does what its first argument says. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void said(int n) {
    printf("signal %d\n", n);
    fflush(stdout);
    _exit(7);
}

static void forever(void) {
    for (;;) pause();
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "wait";
    int number = argc > 2 ? atoi(argv[2]) : 0;
    char line[4096];
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, said);
    if (!strcmp(what, "wait")) {
        puts("waiting");
        forever();
    } else if (!strcmp(what, "count")) {
        for (int i = 0; i < number; i++) {
            printf("line %d\n", i);
            if (i % 2) fprintf(stderr, "error %d\n", i);
        }
        return argc > 3 ? atoi(argv[3]) : 0;
    } else if (!strcmp(what, "cat")) {
        printf("terminals %d%d\n", isatty(0), isatty(1));
        while (fgets(line, sizeof line, stdin)) {
            printf("<%s>\n", strtok(line, "\n"));
            if (!strcmp(line, "end")) return 5;
        }
        puts("end of input");
    } else if (!strcmp(what, "spin")) {
        puts("spinning");
        for (volatile long i = 0;; i++) {}
    } else if (!strcmp(what, "stubborn")) {
        signal(SIGTERM, SIG_IGN);
        puts("stubborn");
        forever();
    } else if (!strcmp(what, "children")) {
        /* The third is a daemon: a session of its own and another parent. */
        for (int i = 0; i < 3; i++)
            if (!fork()) {
                if (i == 2) {
                    setsid();
                    if (fork()) _exit(0);
                }
                forever();
            }
        sleep(1);
        puts("children");
        forever();
    } else if (!strcmp(what, "flood")) {
        memset(line, 'x', sizeof line);
        line[sizeof line - 1] = '\n';
        for (int i = 0; i < number; i++) fwrite(line, 1, sizeof line, stdout);
        return 9;
    }
    return 0;
}
