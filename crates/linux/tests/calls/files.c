// Files: opening, reading, writing, sizes, locks, copying.
#include "calls.h"
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>

static void opening(void) {
    int fd = CALL("openat creates", SYS_openat, AT_FDCWD, "f", O_CREAT | O_RDWR | O_EXCL, 0640);
    CALL("openat exclusive", SYS_openat, AT_FDCWD, "f", O_CREAT | O_RDWR | O_EXCL, 0640);
    CALL("openat missing", SYS_openat, AT_FDCWD, "missing", O_RDONLY);
    CALL("openat bad pointer", SYS_openat, AT_FDCWD, BAD, O_RDONLY);
    CALL("openat null", SYS_openat, AT_FDCWD, NULL, O_RDONLY);
    CALL("openat empty", SYS_openat, AT_FDCWD, "", O_RDONLY);
    CALL("openat bad directory", SYS_openat, NOFD, "f", O_RDONLY);
    CALL("openat absolute does not look at it", SYS_openat, NOFD, "/dev/null", O_RDONLY);
    CALL("openat below a file", SYS_openat, AT_FDCWD, "f/g", O_RDONLY);
    CALL("openat O_DIRECTORY of a file", SYS_openat, AT_FDCWD, "f", O_RDONLY | O_DIRECTORY);
    CALL("openat directory for writing", SYS_openat, AT_FDCWD, ".", O_WRONLY);
    symlink("f", "l");
    CALL("openat O_NOFOLLOW", SYS_openat, AT_FDCWD, "l", O_RDONLY | O_NOFOLLOW);
    int path = CALL("openat O_PATH", SYS_openat, AT_FDCWD, "l", O_PATH | O_NOFOLLOW);
    CALL("read of O_PATH", SYS_read, path, &fd, 1);
    char name[5000];
    memset(name, 'a', sizeof name - 1), name[sizeof name - 1] = 0;
    CALL("openat path too long", SYS_openat, AT_FDCWD, name, O_RDONLY);
    name[300] = 0;
    CALL("openat name too long", SYS_openat, AT_FDCWD, name, O_RDONLY);
    int tmp = CALL("openat O_TMPFILE", SYS_openat, AT_FDCWD, ".", O_TMPFILE | O_RDWR, 0600);
    SHOW("fcntl F_GETFL", "%#x", (unsigned)fcntl(fd, F_GETFL));
    SHOW("fcntl F_GETFL of a directory", "%#x", (unsigned)fcntl(open(".", O_DIRECTORY), F_GETFL));
    close(tmp), close(path);
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_NO_SYMLINKS};
    CALL("openat2 no symlinks", SYS_openat2, AT_FDCWD, "l", &how, sizeof how);
    how.resolve = RESOLVE_BENEATH;
    CALL("openat2 beneath", SYS_openat2, AT_FDCWD, "../x", &how, sizeof how);
    WORKS("openat2 opens", syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof how));
    CALL("openat2 size too small", SYS_openat2, AT_FDCWD, "f", &how, 8L);
    how.flags = 1ull << 40;
    CALL("openat2 unknown flag", SYS_openat2, AT_FDCWD, "f", &how, sizeof how);
    CALL("openat2 bad pointer", SYS_openat2, AT_FDCWD, "f", BAD, sizeof how);
    CALL("close", SYS_close, fd);
    CALL("close again", SYS_close, fd);
}

static void transfer(void) {
    char buf[64] = {0};
    int fd = open("t", O_CREAT | O_RDWR | O_TRUNC, 0644);
    CALL("write", SYS_write, fd, "hello world", 11L);
    CALL("write bad pointer", SYS_write, fd, BAD, 5L);
    CALL("write bad descriptor", SYS_write, NOFD, "x", 1L);
    CALL("write nothing from a bad pointer", SYS_write, fd, BAD, 0L);
    CALL("lseek set", SYS_lseek, fd, 6L, SEEK_SET);
    CALL("lseek end", SYS_lseek, fd, -3L, SEEK_END);
    CALL("lseek before the start", SYS_lseek, fd, -30L, SEEK_CUR);
    CALL("lseek whence", SYS_lseek, fd, 0L, 99);
    CALL("lseek data", SYS_lseek, fd, 0L, SEEK_DATA);
    CALL("lseek hole", SYS_lseek, fd, 0L, SEEK_HOLE);
    CALL("lseek data behind the end", SYS_lseek, fd, 100L, SEEK_DATA);
    CALL("lseek back", SYS_lseek, fd, 0L, SEEK_SET);
    CALL("read", SYS_read, fd, buf, 5L);
    SHOW("read what", "%s", buf);
    CALL("read bad pointer", SYS_read, fd, BAD, 5L);
    CALL("read bad descriptor", SYS_read, NOFD, buf, 5L);
    CALL("read directory", SYS_read, open(".", O_RDONLY), buf, 5L);
    CALL("pread64", SYS_pread64, fd, buf, 5L, 6L);
    SHOW("pread64 what", "%s", buf);
    CALL("pread64 negative offset", SYS_pread64, fd, buf, 5L, -1L);
    CALL("pread64 behind the end", SYS_pread64, fd, buf, 5L, 1000L);
    CALL("pwrite64", SYS_pwrite64, fd, "W", 1L, 6L);
    CALL("pwrite64 bad pointer", SYS_pwrite64, fd, BAD, 1L, 6L);
    struct iovec v[3] = {{buf, 3}, {buf + 10, 0}, {buf + 20, 30}};
    CALL("lseek to 2", SYS_lseek, fd, 2L, SEEK_SET);
    CALL("readv", SYS_readv, fd, v, 3L);
    SHOW("readv what", "%.3s|%.6s", buf, buf + 20);
    CALL("readv too many", SYS_readv, fd, v, 1025L);
    CALL("readv bad vector", SYS_readv, fd, BAD, 1L);
    struct iovec w[2] = {{"ab", 2}, {"cde", 3}}, neg[1] = {{buf, (size_t)-1}}, half[2] = {{"ok", 2}, {BAD, 2}};
    CALL("writev", SYS_writev, fd, w, 2L);
    CALL("writev negative length", SYS_writev, fd, neg, 1L);
    CALL("writev second part bad", SYS_writev, fd, half, 2L);
    CALL("preadv", SYS_preadv, fd, v, 3L, 1L, 0L);
    CALL("preadv negative offset", SYS_preadv, fd, v, 3L, -1L, 0L);
    CALL("pwritev", SYS_pwritev, fd, w, 2L, 40L, 0L);
    CALL("preadv2", SYS_preadv2, fd, v, 3L, 0L, 0L, 0);
    CALL("preadv2 at the position", SYS_preadv2, fd, v, 3L, -1L, -1L, 0);
    CALL("preadv2 unknown flag", SYS_preadv2, fd, v, 3L, 0L, 0L, 0x40000000);
    CALL("pwritev2 append", SYS_pwritev2, fd, w, 2L, 0L, 0L, RWF_APPEND);
    struct stat st;
    fstat(fd, &st);
    SHOW("pwritev2 size", "%ld", (long)st.st_size);
    int out = open("t2", O_CREAT | O_RDWR | O_TRUNC, 0644);
    off_t at = 3;
    CALL("sendfile", SYS_sendfile, out, fd, &at, 4L);
    SHOW("sendfile offset", "%ld", (long)at);
    CALL("sendfile bad pointer", SYS_sendfile, out, fd, BAD, 4L);
    CALL("sendfile bad descriptor", SYS_sendfile, NOFD, fd, NULL, 4L);
    loff_t from = 0, to = 10;
    CALL("copy_file_range", SYS_copy_file_range, fd, &from, out, &to, 5L, 0);
    SHOW("copy_file_range offsets", "%ld %ld", (long)from, (long)to);
    CALL("copy_file_range flags", SYS_copy_file_range, fd, &from, out, &to, 5L, 1);
    CALL("copy_file_range onto itself", SYS_copy_file_range, fd, &from, fd, &from, 5L, 0);
}

static void sizes(void) {
    int fd = open("s", O_CREAT | O_RDWR | O_TRUNC, 0644), ro = open("s", O_RDONLY);
    struct stat st;
    CALL("ftruncate", SYS_ftruncate, fd, 5000L);
    CALL("ftruncate read only", SYS_ftruncate, ro, 50L);
    CALL("ftruncate negative", SYS_ftruncate, fd, -1L);
    CALL("truncate", SYS_truncate, "s", 100L);
    CALL("truncate missing", SYS_truncate, "missing", 100L);
    CALL("truncate directory", SYS_truncate, ".", 100L);
    CALL("truncate bad pointer", SYS_truncate, BAD, 100L);
    CALL("fallocate", SYS_fallocate, fd, 0, 0L, 10000L);
    CALL("fallocate keep size", SYS_fallocate, fd, FALLOC_FL_KEEP_SIZE, 0L, 90000L);
    fstat(fd, &st);
    SHOW("fallocate size", "%ld", (long)st.st_size);
    CALL("fallocate no length", SYS_fallocate, fd, 0, 0L, 0L);
    CALL("fallocate read only", SYS_fallocate, ro, 0, 0L, 10L);
    CALL("fsync", SYS_fsync, fd);
    CALL("fsync bad descriptor", SYS_fsync, NOFD);
    CALL("fdatasync", SYS_fdatasync, fd);
    CALL("fdatasync bad descriptor", SYS_fdatasync, NOFD);
    CALL("sync_file_range", SYS_sync_file_range, fd, 0L, 100L, SYNC_FILE_RANGE_WRITE);
    CALL("sync_file_range flags", SYS_sync_file_range, fd, 0L, 100L, 0x100);
    CALL("syncfs", SYS_syncfs, fd);
    CALL("syncfs bad descriptor", SYS_syncfs, NOFD);
    CALL("sync", SYS_sync);
    CALL("fadvise64", SYS_fadvise64, fd, 0L, 0L, POSIX_FADV_SEQUENTIAL);
    CALL("fadvise64 advice", SYS_fadvise64, fd, 0L, 0L, 99);
    CALL("fadvise64 bad descriptor", SYS_fadvise64, NOFD, 0L, 0L, 0);
    CALL("readahead", SYS_readahead, fd, 0L, 4096L);
    CALL("readahead bad descriptor", SYS_readahead, NOFD, 0L, 4096L);
    unsigned long cs[5];
    struct { unsigned long off, len; } range = {0, 0};
    WORKS("cachestat", syscall(451, fd, &range, cs, 0));
    CALL("cachestat bad descriptor", 451, NOFD, &range, cs, 0);
    CALL("cachestat bad pointer", 451, fd, BAD, cs, 0);
    CALL("cachestat flags", 451, fd, &range, cs, 1);
}

static void descriptors(void) {
    int fd = open("d", O_CREAT | O_RDWR, 0644);
    int a = syscall(SYS_dup, fd);
    SHOW("dup", "next %d", a - fd);
    CALL("dup bad descriptor", SYS_dup, NOFD);
    CALL("dup3", SYS_dup3, fd, 100, O_CLOEXEC);
    SHOW("fcntl F_GETFD", "%d", fcntl(100, F_GETFD));
    CALL("dup3 same", SYS_dup3, fd, fd, 0);
    CALL("dup3 flags", SYS_dup3, fd, 101, O_APPEND);
    CALL("dup3 too high", SYS_dup3, fd, 1 << 30, 0);
    CALL("fcntl F_DUPFD", SYS_fcntl, fd, F_DUPFD, 200L);
    CALL("fcntl F_DUPFD_CLOEXEC", SYS_fcntl, fd, F_DUPFD_CLOEXEC, 210L);
    CALL("fcntl F_SETFD", SYS_fcntl, fd, F_SETFD, 1L);
    CALL("fcntl F_SETFL", SYS_fcntl, fd, F_SETFL, (long)(O_APPEND | O_NONBLOCK));
    SHOW("fcntl F_SETFL set", "%#x", (unsigned)fcntl(fd, F_GETFL));
    CALL("fcntl bad descriptor", SYS_fcntl, NOFD, F_GETFD, 0L);
    CALL("fcntl command", SYS_fcntl, fd, 9999, 0L);
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 5};
    CALL("fcntl F_SETLK", SYS_fcntl, fd, F_SETLK, &l);
    fflush(stdout);
    if (fork() == 0) {
        struct flock q = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
        CALL("fcntl F_SETLK held", SYS_fcntl, fd, F_SETLK, &q);
        CALL("fcntl F_GETLK", SYS_fcntl, fd, F_GETLK, &q);
        SHOW("fcntl F_GETLK found", "%d %ld %ld %d", q.l_type, (long)q.l_start, (long)q.l_len, q.l_pid == getppid());
        _exit(0);
    }
    wait(NULL);
    CALL("fcntl F_SETLK bad pointer", SYS_fcntl, fd, F_SETLK, BAD);
    l.l_pid = 0;
    CALL("fcntl F_OFD_SETLK", SYS_fcntl, fd, F_OFD_SETLK, &l);
    int other = open("d", O_RDWR);
    CALL("fcntl F_OFD_SETLK held", SYS_fcntl, other, F_OFD_SETLK, &l);
    CALL("fcntl F_SETOWN", SYS_fcntl, fd, F_SETOWN, (long)getpid());
    SHOW("fcntl F_GETOWN", "%d", fcntl(fd, F_GETOWN) == getpid());
    CALL("fcntl F_GETLEASE", SYS_fcntl, fd, F_GETLEASE, 0L);
    CALL("flock", SYS_flock, fd, LOCK_EX);
    CALL("flock held", SYS_flock, other, LOCK_EX | LOCK_NB);
    CALL("flock unlock", SYS_flock, fd, LOCK_UN);
    CALL("flock operation", SYS_flock, fd, 0);
    CALL("flock bad descriptor", SYS_flock, NOFD, LOCK_EX);
    CALL("close_range", SYS_close_range, 195u, 220u, 0);
    CALL("close_range closed", SYS_fcntl, 200, F_GETFD, 0L);
    CALL("close_range cloexec", SYS_close_range, 100u, 100u, 4);
    CALL("close_range order", SYS_close_range, 20u, 10u, 0);
    CALL("close_range flags", SYS_close_range, 300u, 400u, 0x80);
    int mem = syscall(SYS_memfd_create, "name", MFD_ALLOW_SEALING);
    SHOW("memfd_create", "%d", mem > 0);
    CALL("memfd_create flags", SYS_memfd_create, "name", 0x8000);
    CALL("memfd_create bad pointer", SYS_memfd_create, BAD, 0);
    ftruncate(mem, 100);
    CALL("fcntl F_ADD_SEALS", SYS_fcntl, mem, F_ADD_SEALS, (long)(F_SEAL_SHRINK | F_SEAL_WRITE));
    CALL("fcntl F_GET_SEALS", SYS_fcntl, mem, F_GET_SEALS, 0L);
    CALL("write sealed", SYS_write, mem, "x", 1L);
    CALL("ftruncate sealed", SYS_ftruncate, mem, 1L);
    CALL("memfd_secret flags", SYS_memfd_secret, 0x100);
    CALL("umask", SYS_umask, 027);
    CALL("umask before", SYS_umask, 022);
}

static void pipes_of_pages(void) {
    int p[2], q[2], fd = open("t", O_RDWR);
    pipe(p), pipe(q);
    loff_t at = 1;
    CALL("splice file to pipe", SYS_splice, fd, &at, p[1], NULL, 6L, 0);
    SHOW("splice offset", "%ld", (long)at);
    CALL("tee", SYS_tee, p[0], q[1], 100L, 0);
    CALL("tee same pipe", SYS_tee, p[0], p[1], 100L, 0);
    CALL("tee no pipe", SYS_tee, fd, p[1], 100L, 0);
    char buf[32] = {0};
    read(q[0], buf, 31);
    SHOW("tee what", "%s", buf);
    CALL("splice no pipe", SYS_splice, fd, NULL, fd, NULL, 6L, 0);
    CALL("splice offset of a pipe", SYS_splice, p[0], &at, q[1], NULL, 6L, 0);
    CALL("splice bad pointer", SYS_splice, fd, BAD, p[1], NULL, 6L, 0);
    struct iovec v = {"vmsplice", 8};
    CALL("vmsplice", SYS_vmsplice, q[1], &v, 1L, 0);
    CALL("vmsplice bad pointer", SYS_vmsplice, q[1], BAD, 1L, 0);
    CALL("vmsplice no pipe", SYS_vmsplice, fd, &v, 1L, 0);
    read(q[0], buf, 8);
    SHOW("vmsplice what", "%s", buf);
}

static void file_systems(void) {
    struct statfs s;
    memset(&s, 0x55, sizeof s);
    CALL("statfs", SYS_statfs, "/proc", &s);
    SHOW("statfs type", "%lx %ld", (long)s.f_type, (long)s.f_namelen);
    CALL("statfs missing", SYS_statfs, "missing", &s);
    CALL("statfs bad pointer", SYS_statfs, "/proc", BAD);
    CALL("fstatfs", SYS_fstatfs, open("/dev/null", O_RDONLY), &s);
    CALL("fstatfs bad descriptor", SYS_fstatfs, NOFD, &s);
    CALL("mount bad type", SYS_mount, "none", ".", "nosuchfs", 0L, NULL);
    CALL("mount bad pointer", SYS_mount, "none", BAD, "tmpfs", 0L, NULL);
    CALL("umount2 no mount", SYS_umount2, ".", 0);
    CALL("umount2 flags", SYS_umount2, ".", 0x1000);
    CALL("pivot_root missing", SYS_pivot_root, "missing", "missing");
    CALL("quotactl command", SYS_quotactl, 0, NULL, 0, NULL);
    CALL("quotactl_fd bad descriptor", SYS_quotactl_fd, NOFD, 0, 0, NULL);
    CALL("swapon missing", SYS_swapon, "missing", 0);
    CALL("swapoff missing", SYS_swapoff, "missing");
    CALL("acct missing", SYS_acct, "missing");
    CALL("fsopen bad type", SYS_fsopen, "nosuchfs", 0);
    CALL("fsconfig bad descriptor", SYS_fsconfig, NOFD, 0, "a", "b", 0);
    CALL("fsmount bad descriptor", SYS_fsmount, NOFD, 0, 0);
    CALL("fspick missing", SYS_fspick, AT_FDCWD, "missing", 0);
    CALL("open_tree missing", SYS_open_tree, AT_FDCWD, "missing", 0);
    CALL("move_mount missing", SYS_move_mount, AT_FDCWD, "missing", AT_FDCWD, "missing", 0);
    CALL("mount_setattr size", SYS_mount_setattr, AT_FDCWD, ".", 0, BAD, 1L);
    CALL("statmount bad pointer", 457, BAD, BAD, 0L, 0);
    CALL("listmount bad pointer", 458, BAD, BAD, 0L, 0);
}

void run(void) {
    opening();
    transfer();
    sizes();
    descriptors();
    pipes_of_pages();
    file_systems();
}
