// Names: directories, links, attributes, times, extended attributes, handles.
#include "calls.h"
#include <linux/stat.h>
#include <sys/xattr.h>

static void directories(void) {
    CALL("mkdirat", SYS_mkdirat, AT_FDCWD, "d", 0755);
    CALL("mkdirat exists", SYS_mkdirat, AT_FDCWD, "d", 0755);
    CALL("mkdirat missing parent", SYS_mkdirat, AT_FDCWD, "x/y", 0755);
    CALL("mkdirat bad pointer", SYS_mkdirat, AT_FDCWD, BAD, 0755);
    put_file("d/a", "a"), put_file("d/b", "bb");
    int dir = open("d", O_RDONLY | O_DIRECTORY);
    char buf[1024];
    long n = syscall(SYS_getdents64, dir, buf, sizeof buf);
    int names = 0, dots = 0;
    for (long at = 0; at < n;) {
        struct dirent64 *e = (void *)(buf + at);
        if (e->d_name[0] == '.') dots++;
        else names += e->d_name[0] + (e->d_type == DT_REG);
        at += e->d_reclen;
    }
    SHOW("getdents64", "%d %d", names, dots);
    CALL("getdents64 end", SYS_getdents64, dir, buf, sizeof buf);
    CALL("getdents64 small buffer", SYS_getdents64, open("d", O_RDONLY), buf, 3L);
    CALL("getdents64 bad pointer", SYS_getdents64, open("d", O_RDONLY), BAD, 1000L);
    CALL("getdents64 no directory", SYS_getdents64, open("d/a", O_RDONLY), buf, sizeof buf);
    char cwd[4096], small[2];
    CALL("chdir", SYS_chdir, "d");
    long len = syscall(SYS_getcwd, cwd, sizeof cwd);
    SHOW("getcwd", "%s %d", strrchr(cwd, '/'), len == (long)strlen(cwd) + 1);
    CALL("getcwd small buffer", SYS_getcwd, small, sizeof small);
    CALL("getcwd bad pointer", SYS_getcwd, BAD, 4096L);
    CALL("chdir back", SYS_chdir, "..");
    CALL("chdir missing", SYS_chdir, "missing");
    CALL("chdir file", SYS_chdir, "d/a");
    CALL("chdir bad pointer", SYS_chdir, BAD);
    CALL("fchdir", SYS_fchdir, dir);
    CALL("fchdir bad descriptor", SYS_fchdir, NOFD);
    chdir("..");
    CALL("unlinkat directory not empty", SYS_unlinkat, AT_FDCWD, "d", AT_REMOVEDIR);
    CALL("unlinkat directory as file", SYS_unlinkat, AT_FDCWD, "d", 0);
    CALL("unlinkat", SYS_unlinkat, dir, "a", 0);
    CALL("unlinkat missing", SYS_unlinkat, dir, "a", 0);
    CALL("unlinkat flags", SYS_unlinkat, dir, "b", 0x8000);
    CALL("unlinkat bad pointer", SYS_unlinkat, dir, BAD, 0);
    CALL("chroot missing", SYS_chroot, "missing");
    CALL("chroot bad pointer", SYS_chroot, BAD);
}

static void links(void) {
    char buf[64] = {0};
    put_file("f", "12345");
    CALL("symlinkat", SYS_symlinkat, "f", AT_FDCWD, "l");
    CALL("symlinkat exists", SYS_symlinkat, "f", AT_FDCWD, "l");
    CALL("symlinkat bad pointer", SYS_symlinkat, BAD, AT_FDCWD, "l2");
    CALL("readlinkat", SYS_readlinkat, AT_FDCWD, "l", buf, sizeof buf);
    SHOW("readlinkat what", "%s", buf);
    CALL("readlinkat no link", SYS_readlinkat, AT_FDCWD, "f", buf, sizeof buf);
    CALL("readlinkat no room", SYS_readlinkat, AT_FDCWD, "l", buf, 0);
    CALL("readlinkat bad pointer", SYS_readlinkat, AT_FDCWD, "l", BAD, 8);
    CALL("readlinkat missing", SYS_readlinkat, AT_FDCWD, "missing", buf, 8);
    CALL("linkat", SYS_linkat, AT_FDCWD, "f", AT_FDCWD, "h", 0);
    CALL("linkat exists", SYS_linkat, AT_FDCWD, "f", AT_FDCWD, "h", 0);
    CALL("linkat flags", SYS_linkat, AT_FDCWD, "f", AT_FDCWD, "h2", 0x8000);
    CALL("linkat bad pointer", SYS_linkat, AT_FDCWD, BAD, AT_FDCWD, "h2", 0);
    CALL("renameat2", SYS_renameat2, AT_FDCWD, "h", AT_FDCWD, "h3", 0);
    CALL("renameat2 no replace", SYS_renameat2, AT_FDCWD, "h3", AT_FDCWD, "f", 1);
    CALL("renameat2 exchange", SYS_renameat2, AT_FDCWD, "h3", AT_FDCWD, "l", 2);
    CALL("renameat2 flags", SYS_renameat2, AT_FDCWD, "h3", AT_FDCWD, "f", 99);
    CALL("renameat2 missing", SYS_renameat2, AT_FDCWD, "missing", AT_FDCWD, "f", 0);
    CALL("renameat2 bad pointer", SYS_renameat2, AT_FDCWD, BAD, AT_FDCWD, "f", 0);
    CALL("mknodat fifo", SYS_mknodat, AT_FDCWD, "fifo", S_IFIFO | 0600, 0);
    CALL("mknodat exists", SYS_mknodat, AT_FDCWD, "fifo", S_IFIFO | 0600, 0);
    CALL("mknodat directory", SYS_mknodat, AT_FDCWD, "node", S_IFDIR | 0600, 0);
    CALL("mknodat bad pointer", SYS_mknodat, AT_FDCWD, BAD, S_IFIFO | 0600, 0);
    symlink("loop", "loop");
    CALL("openat loop", SYS_openat, AT_FDCWD, "loop", O_RDONLY);
}

static void attributes(void) {
    struct stat s;
    put_file("g", "0123456789");
    chmod("g", 0644);
    memset(&s, 0x55, sizeof s);
    CALL("newfstatat", SYS_newfstatat, AT_FDCWD, "g", &s, 0);
    SHOW("newfstatat what", "%o %lu %ld %ld %ld %d", s.st_mode, (long)s.st_nlink, (long)s.st_size, (long)s.st_blksize,
         (long)s.st_blocks, s.st_uid == getuid());
    CALL("newfstatat no follow", SYS_newfstatat, AT_FDCWD, "h3", &s, AT_SYMLINK_NOFOLLOW);
    SHOW("newfstatat no follow what", "%o", s.st_mode & S_IFMT);
    CALL("newfstatat empty path", SYS_newfstatat, 0, "", &s, AT_EMPTY_PATH);
    CALL("newfstatat empty path not allowed", SYS_newfstatat, 0, "", &s, 0);
    CALL("newfstatat device", SYS_newfstatat, AT_FDCWD, "/dev/null", &s, 0);
    SHOW("newfstatat device number", "%lx", (long)s.st_rdev);
    CALL("newfstatat flags", SYS_newfstatat, AT_FDCWD, "g", &s, 0x8000000);
    CALL("newfstatat missing", SYS_newfstatat, AT_FDCWD, "missing", &s, 0);
    CALL("newfstatat bad path", SYS_newfstatat, AT_FDCWD, BAD, &s, 0);
    CALL("newfstatat bad pointer", SYS_newfstatat, AT_FDCWD, "g", BAD, 0);
    int fd = open("g", O_RDWR);
    CALL("fstat", SYS_fstat, fd, &s);
    SHOW("fstat what", "%o %ld", s.st_mode, (long)s.st_size);
    CALL("fstat bad descriptor", SYS_fstat, NOFD, &s);
    CALL("fstat bad pointer", SYS_fstat, fd, BAD);
    struct statx x;
    memset(&x, 0x55, sizeof x);
    CALL("statx", SYS_statx, AT_FDCWD, "g", 0, STATX_BASIC_STATS, &x);
    SHOW("statx what", "%o %ld %u %d", x.stx_mode, (long)x.stx_size, x.stx_nlink, (x.stx_mask & 0x7ff) == 0x7ff);
    CALL("statx empty path", SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x);
    CALL("statx flags", SYS_statx, AT_FDCWD, "g", 0x8000000, STATX_BASIC_STATS, &x);
    CALL("statx reserved mask", SYS_statx, AT_FDCWD, "g", 0, 0x80000000u, &x);
    CALL("statx missing", SYS_statx, AT_FDCWD, "missing", 0, STATX_BASIC_STATS, &x);
    CALL("statx bad pointer", SYS_statx, AT_FDCWD, "g", 0, STATX_BASIC_STATS, BAD);
    CALL("fchmod", SYS_fchmod, fd, 0600);
    CALL("fchmod bad descriptor", SYS_fchmod, NOFD, 0600);
    CALL("fchmodat", SYS_fchmodat, AT_FDCWD, "g", 0640);
    CALL("fchmodat missing", SYS_fchmodat, AT_FDCWD, "missing", 0640);
    CALL("fchmodat bad pointer", SYS_fchmodat, AT_FDCWD, BAD, 0640);
    CALL("fchmodat2", 452, AT_FDCWD, "g", 0604, 0);
    CALL("fchmodat2 flags", 452, AT_FDCWD, "g", 0604, 0x8000);
    stat("g", &s);
    SHOW("fchmodat2 mode", "%o", s.st_mode);
    CALL("fchown", SYS_fchown, fd, -1, -1);
    CALL("fchown bad descriptor", SYS_fchown, NOFD, -1, -1);
    CALL("fchownat", SYS_fchownat, AT_FDCWD, "g", getuid(), getgid(), 0);
    CALL("fchownat missing", SYS_fchownat, AT_FDCWD, "missing", -1, -1, 0);
    CALL("fchownat flags", SYS_fchownat, AT_FDCWD, "g", -1, -1, 0x8000);
    CALL("faccessat", SYS_faccessat, AT_FDCWD, "g", R_OK | W_OK);
    CALL("faccessat execute", SYS_faccessat, AT_FDCWD, "g", X_OK);
    CALL("faccessat missing", SYS_faccessat, AT_FDCWD, "missing", F_OK);
    CALL("faccessat mode", SYS_faccessat, AT_FDCWD, "g", 99);
    CALL("faccessat bad pointer", SYS_faccessat, AT_FDCWD, BAD, F_OK);
    CALL("faccessat2", SYS_faccessat2, AT_FDCWD, "g", R_OK, AT_EACCESS);
    CALL("faccessat2 flags", SYS_faccessat2, AT_FDCWD, "g", R_OK, 0x8000);
    struct timespec t[2] = {{1000, 5}, {2000, 7}};
    CALL("utimensat", SYS_utimensat, AT_FDCWD, "g", t, 0);
    stat("g", &s);
    SHOW("utimensat times", "%ld.%ld %ld.%ld", (long)s.st_atim.tv_sec, s.st_atim.tv_nsec, (long)s.st_mtim.tv_sec,
         s.st_mtim.tv_nsec);
    t[0].tv_nsec = UTIME_OMIT, t[1].tv_nsec = 1000000000;
    CALL("utimensat nanoseconds", SYS_utimensat, AT_FDCWD, "g", t, 0);
    CALL("utimensat descriptor", SYS_utimensat, fd, NULL, NULL, 0);
    CALL("utimensat missing", SYS_utimensat, AT_FDCWD, "missing", NULL, 0);
    CALL("utimensat bad pointer", SYS_utimensat, AT_FDCWD, "g", BAD, 0);
}

static void extended(void) {
    char buf[256] = {0};
    int fd = open("g", O_RDWR);
    CALL("setxattr", SYS_setxattr, "g", "user.a", "value", 5L, 0);
    CALL("setxattr exists", SYS_setxattr, "g", "user.a", "value", 5L, XATTR_CREATE);
    CALL("setxattr bad pointer", SYS_setxattr, "g", "user.b", BAD, 5L, 0);
    CALL("setxattr name space", SYS_setxattr, "g", "nonsense.a", "v", 1L, 0);
    CALL("setxattr missing", SYS_setxattr, "missing", "user.a", "v", 1L, 0);
    CALL("lsetxattr", SYS_lsetxattr, "g", "user.c", "see", 3L, 0);
    CALL("fsetxattr", SYS_fsetxattr, fd, "user.d", "dd", 2L, 0);
    CALL("fsetxattr bad descriptor", SYS_fsetxattr, NOFD, "user.d", "dd", 2L, 0);
    CALL("getxattr", SYS_getxattr, "g", "user.a", buf, 100L);
    SHOW("getxattr what", "%s", buf);
    CALL("getxattr size", SYS_getxattr, "g", "user.a", NULL, 0L);
    CALL("getxattr small buffer", SYS_getxattr, "g", "user.a", buf, 2L);
    CALL("getxattr none", SYS_getxattr, "g", "user.none", buf, 2L);
    CALL("getxattr bad pointer", SYS_getxattr, "g", "user.a", BAD, 100L);
    CALL("lgetxattr", SYS_lgetxattr, "g", "user.c", buf, 100L);
    CALL("fgetxattr", SYS_fgetxattr, fd, "user.d", buf, 100L);
    CALL("fgetxattr bad descriptor", SYS_fgetxattr, NOFD, "user.d", buf, 100L);
    WORKS("listxattr", syscall(SYS_listxattr, "g", buf, sizeof buf));
    CALL("listxattr small buffer", SYS_listxattr, "g", buf, 2L);
    WORKS("llistxattr", syscall(SYS_llistxattr, "g", buf, sizeof buf));
    WORKS("flistxattr", syscall(SYS_flistxattr, fd, buf, sizeof buf));
    CALL("flistxattr bad descriptor", SYS_flistxattr, NOFD, buf, sizeof buf);
    CALL("removexattr", SYS_removexattr, "g", "user.a");
    CALL("removexattr none", SYS_removexattr, "g", "user.a");
    CALL("lremovexattr", SYS_lremovexattr, "g", "user.c");
    CALL("fremovexattr", SYS_fremovexattr, fd, "user.d");
    CALL("fremovexattr bad descriptor", SYS_fremovexattr, NOFD, "user.d");
}

static void handles(void) {
    struct { unsigned bytes; int type; unsigned char data[128]; } h = {0};
    int mount;
    CALL("name_to_handle_at size", SYS_name_to_handle_at, AT_FDCWD, "g", &h, &mount, 0);
    SHOW("name_to_handle_at size given", "%d", h.bytes > 0);
    WORKS("name_to_handle_at", syscall(SYS_name_to_handle_at, AT_FDCWD, "g", &h, &mount, 0));
    CALL("name_to_handle_at bad pointer", SYS_name_to_handle_at, AT_FDCWD, "g", BAD, &mount, 0);
    CALL("name_to_handle_at missing", SYS_name_to_handle_at, AT_FDCWD, "missing", &h, &mount, 0);
    WORKS("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, &h, O_RDONLY));
    CALL("open_by_handle_at bad pointer", SYS_open_by_handle_at, AT_FDCWD, BAD, O_RDONLY);
}

void run(void) {
    umask(022);
    directories();
    links();
    attributes();
    extended();
    handles();
}
