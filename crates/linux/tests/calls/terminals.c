// Terminals and other requests to devices.
#include "calls.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <termios.h>

// The kernel's own structure, not the C library's.
struct kernel_termios { unsigned iflag, oflag, cflag, lflag; unsigned char line, cc[19]; };

void run(void) {
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY), n = -1, zero = 0;
    SHOW("ioctl terminal", "%d", master > 0);
    CALL("ioctl TIOCGPTN", SYS_ioctl, master, TIOCGPTN, &n);
    CALL("ioctl TIOCSPTLCK", SYS_ioctl, master, TIOCSPTLCK, &zero);
    char name[32];
    snprintf(name, sizeof name, "/dev/pts/%d", n);
    int slave = open(name, O_RDWR | O_NOCTTY);
    SHOW("openat terminal", "%d", slave > 0);
    int peer = syscall(SYS_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    SHOW("ioctl TIOCGPTPEER", "%d", peer > 0);
    struct kernel_termios t;
    memset(&t, 0x55, sizeof t);
    CALL("ioctl TCGETS", SYS_ioctl, slave, TCGETS, &t);
    SHOW("ioctl TCGETS is", "%#o %#o %#o %#o %d %d %d %d", t.iflag, t.oflag, t.cflag, t.lflag, t.line, t.cc[VINTR], t.cc[VEOF], t.cc[VMIN]);
    t.lflag &= ~(ECHO | ICANON), t.cc[VMIN] = 1;
    CALL("ioctl TCSETS", SYS_ioctl, slave, TCSETS, &t);
    struct termios l;
    CHECK("ioctl tcgetattr", tcgetattr(slave, &l));
    SHOW("ioctl tcgetattr is", "%#o %d %d", l.c_lflag, l.c_cc[VMIN], cfgetospeed(&l) == B38400);
    cfsetspeed(&l, B9600);
    CHECK("ioctl tcsetattr", tcsetattr(slave, TCSADRAIN, &l));
    CHECK("ioctl TCSBRK", tcdrain(slave));
    CHECK("ioctl TCFLSH", tcflush(slave, TCIOFLUSH));
    CHECK("ioctl TCXONC", tcflow(slave, TCOON));
    write(master, "typed", 5);
    struct pollfd ready = {slave, POLLIN, 0};
    poll(&ready, 1, 1000);
    CALL("ioctl FIONREAD", SYS_ioctl, slave, FIONREAD, &n);
    SHOW("ioctl FIONREAD is", "%d", n);
    struct winsize w = {24, 80, 1, 2}, x = {0};
    CALL("ioctl TIOCSWINSZ", SYS_ioctl, master, TIOCSWINSZ, &w);
    CALL("ioctl TIOCGWINSZ", SYS_ioctl, slave, TIOCGWINSZ, &x);
    SHOW("ioctl TIOCGWINSZ is", "%d %d %d %d", x.ws_row, x.ws_col, x.ws_xpixel, x.ws_ypixel);
    CALL("ioctl TIOCGWINSZ bad pointer", SYS_ioctl, slave, TIOCGWINSZ, BAD);
    CALL("ioctl TIOCOUTQ", SYS_ioctl, slave, TIOCOUTQ, &n);
    CALL("ioctl TIOCGPGRP other terminal", SYS_ioctl, slave, TIOCGPGRP, &n);
    CALL("ioctl TIOCEXCL", SYS_ioctl, slave, TIOCEXCL);
    CALL("ioctl TIOCNXCL", SYS_ioctl, slave, TIOCNXCL);
    CALL("ioctl TIOCGETD", SYS_ioctl, slave, TIOCGETD, &n);
    SHOW("ioctl TIOCGETD is", "%d", n);
    fflush(stdout);
    if (fork() == 0) {
        setsid();
        signal(SIGWINCH, SIG_IGN);
        CALL("ioctl TIOCSCTTY", SYS_ioctl, slave, TIOCSCTTY, 0L);
        CALL("ioctl TIOCGPGRP", SYS_ioctl, slave, TIOCGPGRP, &n);
        SHOW("ioctl TIOCGPGRP is", "%d", n == getpgrp());
        CALL("ioctl TIOCGSID", SYS_ioctl, slave, TIOCGSID, &n);
        SHOW("ioctl TIOCGSID is", "%d", n == getpid());
        CALL("ioctl TIOCSPGRP", SYS_ioctl, slave, TIOCSPGRP, &n);
        SHOW("openat /dev/tty", "%d", open("/dev/tty", O_RDWR) > 0);
        CALL("ioctl TIOCSTI type", SYS_ioctl, 0, TIOCSTI, "x");
        // The terminal's own signal.
        sigset_t s;
        sigemptyset(&s), sigaddset(&s, SIGINT), sigprocmask(SIG_BLOCK, &s, NULL);
        write(master, "\003", 1);
        SHOW("rt_sigtimedwait from the terminal", "%d", sigwaitinfo(&s, NULL) == SIGINT);
        signal(SIGHUP, SIG_IGN);
        CALL("ioctl TIOCNOTTY", SYS_ioctl, slave, TIOCNOTTY);
        _exit(0);
    }
    wait(NULL);
    CALL("ioctl no terminal", SYS_ioctl, open("f", O_CREAT | O_RDWR, 0600), TCGETS, &t);
    CALL("ioctl bad descriptor", SYS_ioctl, NOFD, TCGETS, &t);
    CALL("ioctl request", SYS_ioctl, slave, 0xdeadbeef, &t);
    int p[2], one = 1;
    pipe(p);
    CALL("ioctl FIOCLEX", SYS_ioctl, p[0], FIOCLEX);
    SHOW("ioctl FIOCLEX is", "%d", fcntl(p[0], F_GETFD));
    CALL("ioctl FIONCLEX", SYS_ioctl, p[0], FIONCLEX);
    CALL("ioctl FIONBIO", SYS_ioctl, p[0], FIONBIO, &one);
    SHOW("ioctl FIONBIO is", "%#x", (unsigned)fcntl(p[0], F_GETFL));
    CALL("ioctl FIOASYNC bad pointer", SYS_ioctl, p[0], FIOASYNC, BAD);
    int f = open("f", O_RDWR);
    CALL("ioctl FIGETBSZ", SYS_ioctl, f, FIGETBSZ, &n);
    SHOW("ioctl FIGETBSZ is", "%d", n);
    CALL("ioctl BLKGETSIZE64 of a file", SYS_ioctl, f, BLKGETSIZE64, &(long){0});
    CALL("ioctl FS_IOC_GETFLAGS of a pipe", SYS_ioctl, p[0], FS_IOC_GETFLAGS, &n);
    WORKS("ioctl FS_IOC_GETFLAGS", syscall(SYS_ioctl, f, FS_IOC_GETFLAGS, &n));
    CALL("ioctl FICLONE", SYS_ioctl, f, FICLONE, 999L);
    close(slave), close(peer);
    char buf[4];
    CALL("read hung-up terminal", SYS_read, master, buf, 4L);
}
