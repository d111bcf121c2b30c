// Mounts, roots: in a user and mount namespace of the test's own, where it is root (`cargo xtask test calls` sees to it).
#include "calls.h"
#include <linux/mount.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

// <sys/mount.h> and <linux/mount.h> do not go together.
enum { UMOUNT_FORCED = 1, UMOUNT_DETACH = 2, UMOUNT_EXPIRE = 4, UMOUNT_LINKLESS = 8 };
enum { SYS_statmount_ = 457, SYS_listmount_ = 458 };
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000
#endif

static long mounts(const char *from, const char *to, const char *type, unsigned long flags, const char *data) {
    return syscall(SYS_mount, from, to, type, flags, data);
}
static long unmounts(const char *at, int flags) { return syscall(SYS_umount2, at, flags); }
static const char *type_of(const char *path) {
    struct statfs s;
    if (statfs(path, &s)) return strerrorname_np(errno);
    return s.f_type == 0x01021994 ? "tmpfs" : "other";
}
static const char *create(const char *path) {
    errno = 0;
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    if (fd < 0) return strerrorname_np(errno);
    close(fd);
    return "made";
}
static const char *there(const char *path) { return access(path, F_OK) ? strerrorname_np(errno) : "there"; }

static void plain(void) {
    mkdir("d", 0755), mkdir("e", 0755);
    CHECK("mount tmpfs", mounts("some", "d", "tmpfs", 0, "size=64k,mode=711"));
    struct stat s;
    stat("d", &s);
    SHOW("mount tmpfs is", "%s %o", type_of("d"), s.st_mode & 0777);
    SHOW("mount file", "%s", create("d/f"));
    CHECK("mount option", mounts("none", "e", "tmpfs", 0, "nonsense=1"));
    CHECK("mount missing", mounts("none", "missing", "tmpfs", 0, NULL));
    CHECK("mount bind", mounts("d", "e", NULL, MS_BIND, NULL));
    SHOW("mount bind shows", "%s", there("e/f"));
    CHECK("mount read only", mounts(NULL, "e", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
    SHOW("mount read only refuses", "%s %s", create("e/g"), create("d/g"));
    mkdir("moved", 0755);
    CHECK("mount move", mounts("e", "moved", NULL, MS_MOVE, NULL));
    SHOW("mount moved", "%s %s", there("moved/f"), there("e/f"));
    CHECK("mount shared", mounts(NULL, "d", NULL, MS_SHARED, NULL));
    CHECK("mount private", mounts(NULL, "d", NULL, MS_PRIVATE, NULL));
    CHECK("mount two kinds", mounts(NULL, "d", NULL, MS_SHARED | MS_PRIVATE, NULL));
    int fd = open("d/f", O_RDONLY);
    CHECK("umount2 busy", unmounts("d", 0));
    CHECK("umount2 expire busy", unmounts("d", UMOUNT_EXPIRE));
    close(fd);
    CHECK("umount2 expire", unmounts("d", UMOUNT_EXPIRE));
    CHECK("umount2 expired", unmounts("d", UMOUNT_EXPIRE));
    SHOW("umount2 hides", "%s", there("d/f"));
    symlink("moved", "link");
    CHECK("umount2 link", unmounts("link", UMOUNT_LINKLESS));
    CHECK("umount2 detach", unmounts("moved", UMOUNT_DETACH));
    CHECK("umount2 again", unmounts("moved", 0));
    CHECK("umount2 expire and force", unmounts("d", UMOUNT_EXPIRE | UMOUNT_FORCED));
}

// Mounts by descriptors.
static void described(void) {
    mkdir("a", 0755), mkdir("b", 0755), mkdir("c", 0755);
    mounts("none", "a", "tmpfs", 0, NULL);
    create("a/f");
    int tree = syscall(SYS_open_tree, AT_FDCWD, "a", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    SHOW("open_tree", "%d", tree > 0);
    CALL("open_tree flags", SYS_open_tree, AT_FDCWD, "a", 0x10);
    SHOW("open_tree file", "%d", openat(tree, "f", O_RDONLY) > 0);
    CALL("move_mount", SYS_move_mount, tree, "", AT_FDCWD, "b", MOVE_MOUNT_F_EMPTY_PATH);
    SHOW("move_mount shows", "%s", there("b/f"));
    CALL("move_mount by path", SYS_move_mount, AT_FDCWD, "b", AT_FDCWD, "c", 0);
    SHOW("move_mount by path shows", "%s %s", there("b/f"), there("c/f"));
    CALL("move_mount flags", SYS_move_mount, AT_FDCWD, "c", AT_FDCWD, "b", 0x1000);
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC};
    CALL("mount_setattr", SYS_mount_setattr, AT_FDCWD, "c", 0, &attr, sizeof attr);
    SHOW("mount_setattr refuses", "%s", create("c/g"));
    attr = (struct mount_attr){.attr_clr = MOUNT_ATTR_RDONLY};
    CALL("mount_setattr recursive", SYS_mount_setattr, AT_FDCWD, "c", AT_RECURSIVE, &attr, sizeof attr);
    SHOW("mount_setattr allows", "%s", create("c/g"));
    attr = (struct mount_attr){.attr_set = 1ull << 50};
    CALL("mount_setattr unknown", SYS_mount_setattr, AT_FDCWD, "c", 0, &attr, sizeof attr);
    CALL("mount_setattr bad pointer", SYS_mount_setattr, AT_FDCWD, "c", 0, BAD, sizeof attr);
    unmounts("c", UMOUNT_DETACH), unmounts("a", UMOUNT_DETACH);
}

static void configured(void) {
    mkdir("n", 0755);
    int fs = syscall(SYS_fsopen, "tmpfs", 1);
    SHOW("fsopen", "%d", fs > 0);
    CALL("fsopen flags", SYS_fsopen, "tmpfs", 8);
    CALL("fsconfig string", SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", "64k", 0);
    CALL("fsconfig mode", SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0711", 0);
    CALL("fsconfig unknown", SYS_fsconfig, fs, FSCONFIG_SET_STRING, "nonsense", "1", 0);
    CALL("fsconfig bad pointer", SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", BAD, 0);
    CALL("fsconfig command", SYS_fsconfig, fs, 99, NULL, NULL, 0);
    CALL("fsmount too early", SYS_fsmount, fs, 0, 0);
    CALL("fsconfig create", SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    int m = syscall(SYS_fsmount, fs, 1, MOUNT_ATTR_NODEV);
    SHOW("fsmount", "%d", m > 0);
    CALL("move_mount of a new one", SYS_move_mount, m, "", AT_FDCWD, "n", MOVE_MOUNT_F_EMPTY_PATH);
    struct stat s;
    stat("n", &s);
    SHOW("fsmount is", "%s %o %s", type_of("n"), s.st_mode & 0777, create("n/f"));
    int pick = syscall(SYS_fspick, AT_FDCWD, "n", 1);
    SHOW("fspick", "%d", pick > 0);
    CALL("fspick flags", SYS_fspick, AT_FDCWD, "n", 0x100);
    CALL("fspick no mount", SYS_fspick, AT_FDCWD, "n/f", 0);
    CALL("fsconfig flag", SYS_fsconfig, pick, FSCONFIG_SET_FLAG, "ro", NULL, 0);
    CALL("fsconfig reconfigure", SYS_fsconfig, pick, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0);
    SHOW("fsconfig reconfigured", "%s", create("n/g"));
    close(fs), close(m), close(pick);
}

// What is mounted: the last one made, by its number.
static void listed(void) {
    struct statx x = {0};
    syscall(SYS_statx, AT_FDCWD, "n", 0, STATX_MNT_ID_UNIQUE, &x);
    uint64_t id = ((uint64_t *)&x)[0x90 / 8];
    struct {
        uint32_t size, spare;
        uint64_t id, param;
    } ask = {24, 0, id, 1 /* STATMOUNT_SB_BASIC */ | 0x20 /* STATMOUNT_FS_TYPE */};
    struct {
        uint32_t size, unused;
        uint64_t mask;
        uint32_t major, minor;
        uint64_t magic;
        uint32_t flags, type;
        char rest[600];
    } is;
    memset(&is, 0, sizeof is);
    CALL("statmount", SYS_statmount_, &ask, &is, sizeof is, 0);
    SHOW("statmount is", "%#lx %#lx %s", (long)is.mask, (long)is.magic, (char *)&is + 512 + is.type);
    CALL("statmount small", SYS_statmount_, &ask, &is, 16L, 0);
    CALL("statmount flags", SYS_statmount_, &ask, &is, sizeof is, 1);
    ask.id = 1ull << 60;
    CALL("statmount unknown", SYS_statmount_, &ask, &is, sizeof is, 0);
    static uint64_t all[4096];
    ask.id = ~0ull, ask.param = 0;
    long n = syscall(SYS_listmount_, &ask, all, 4096L, 0);
    int found = 0;
    for (long i = 0; i < n; i++) found += all[i] == id;
    SHOW("listmount", "%d %d", n > 1, found);
    ask.param = id - 1;
    n = syscall(SYS_listmount_, &ask, all, 1L, 0);
    SHOW("listmount after", "%ld %d", n, n == 1 && all[0] == id);
    unmounts("n", UMOUNT_DETACH);
}

// A program that stands in the new root says what it sees.
static void inside(void) {
    struct stat s, up;
    stat("/", &s), stat("/..", &up);
    SHOW("chroot execve", "%s %s %d", there("/marked"), there("/etc"), s.st_ino == up.st_ino);
}
static void copy_self(const char *to) {
    int from = open("/proc/self/exe", O_RDONLY), fd = open(to, O_CREAT | O_WRONLY, 0755);
    char buf[65536];
    for (ssize_t n; (n = read(from, buf, sizeof buf)) > 0;) write(fd, buf, n);
    close(from), close(fd);
}
static void executed(void) {
    char *args[] = {"/prog", NULL}, *env[] = {"INSIDE=1", NULL};
    fflush(stdout);
    execve("/prog", args, env);
    SHOW("chroot execve", "%s", strerrorname_np(errno));
}
static void in_chroot(void) {
    CALL("chroot", SYS_chroot, "new");
    SHOW("chroot sees", "%s %s", there("/marked"), there("/etc"));
    CHECK("chroot go in", chdir("/"));
    SHOW("chroot no way up", "%s %s", there("../marked"), there("../../etc"));
    executed();
}
static void in_pivot(void) {
    mkdir("new/old", 0755);
    CHECK("pivot_root no mount", syscall(SYS_pivot_root, "new/old", "new/old"));
    CALL("pivot_root", SYS_pivot_root, "new", "new/old");
    CHECK("pivot_root go in", chdir("/"));
    SHOW("pivot_root sees", "%s %s %s", there("/marked"), there("/etc"), there("/old/etc"));
    CHECK("pivot_root old", unmounts("/old", UMOUNT_DETACH));
    SHOW("pivot_root old is gone", "%s", there("/old/etc"));
    SHOW("pivot_root file", "%s", create("/written"));
    executed();
}
static void in_pivot_here(void) {
    chdir("new");
    CALL("pivot_root onto itself", SYS_pivot_root, ".", ".");
    CHECK("pivot_root onto itself old", unmounts(".", UMOUNT_DETACH));
    chdir("/");
    SHOW("pivot_root onto itself sees", "%s %s", there("/marked"), there("/etc"));
}
// Each in a namespace of its own: what it does to the root it does to itself.
static void apart(const char *name, void (*f)(void)) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char line[64];
        snprintf(line, sizeof line, "unshare %s", name);
        CALL(line, SYS_unshare, CLONE_NEWNS);
        f();
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    printf("%s end: %#x\n", name, status);
}

void run(void) {
    if (getenv("INSIDE")) return inside();
    umask(022);
    plain();
    described();
    mkdir("new", 0755);
    mounts("none", "new", "tmpfs", 0, NULL);
    create("new/marked");
    copy_self("new/prog");
    apart("chroot", in_chroot);
    apart("pivot_root", in_pivot);
    apart("pivot_root itself", in_pivot_here);
    SHOW("pivot_root outside", "%s %s", there("new/written"), there("/etc"));
    CHECK("umount2 new root", unmounts("new", UMOUNT_DETACH));
    configured();
    listed();
}
