// Memory: mappings, their protection, the heap, faults and what is said of them.
#include "calls.h"
#include <setjmp.h>
#include <sys/shm.h>

#define PAGE 4096L

static sigjmp_buf back;
static char *base;
static void fault(int signal, siginfo_t *info, void *context) {
    (void)context;
    printf("SIG%s code %d offset %ld\n", sigabbrev_np(signal), info->si_code, (long)((char *)info->si_addr - base));
    siglongjmp(back, 1);
}
// Does something that faults; the handler prints what it is told.
#define FAULT(name, what) \
    do { \
        printf("%s: ", name); \
        fflush(stdout); \
        if (!sigsetjmp(back, 1)) { \
            what; \
            printf("nothing\n"); \
        } \
    } while (0)

static void *map(long size, int prot, int flags) {
    return (void *)syscall(SYS_mmap, NULL, size, prot, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
}

static void mappings(void) {
    char *a = map(4 * PAGE, PROT_READ | PROT_WRITE, 0);
    SHOW("mmap", "%d %d", a != MAP_FAILED && ((long)a & 4095) == 0, a[0] + a[4 * PAGE - 1]);
    CALL("mmap no size", SYS_mmap, NULL, 0L, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
    CALL("mmap size wraps", SYS_mmap, NULL, -1L, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
    CALL("mmap too much", SYS_mmap, NULL, 1L << 50, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
    CALL("mmap no type", SYS_mmap, NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0L);
    CALL("mmap bad descriptor", SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE, NOFD, 0L);
    CALL("mmap offset", SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE, 0, 5L);
    CALL("mmap fixed unaligned", SYS_mmap, a + 5, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0L);
    CALL("mmap directory", SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE, open(".", O_RDONLY), 0L);
    put_file("m", "mapped file");
    int ro = open("m", O_RDONLY), rw = open("m", O_RDWR);
    CALL("mmap write only file", SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE, open("m", O_WRONLY), 0L);
    CALL("mmap shared writable of read only", SYS_mmap, NULL, PAGE, PROT_WRITE, MAP_SHARED, ro, 0L);
    char *f = (char *)syscall(SYS_mmap, NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 0L);
    SHOW("mmap file", "%s", f);
    f[0] = 'M';
    CALL("msync", SYS_msync, f, PAGE, MS_SYNC);
    char buf[12] = {0};
    pread(ro, buf, 11, 0);
    SHOW("msync written", "%s", buf);
    CALL("msync flags", SYS_msync, f, PAGE, MS_SYNC | MS_ASYNC);
    CALL("msync unaligned", SYS_msync, f + 1, PAGE, MS_SYNC);
    munmap(a + PAGE, PAGE);
    CALL("msync hole", SYS_msync, a, 4 * PAGE, MS_SYNC);
    CALL("mmap no replace", SYS_mmap, a, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0L);
    SHOW("mmap no replace in a hole", "%d",
         (char *)syscall(SYS_mmap, a + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0L) == a + PAGE);
    SHOW("mmap fixed", "%d",
         (char *)syscall(SYS_mmap, a + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0L) == a + PAGE);
    munmap(a + 2 * PAGE, PAGE);
    SHOW("mmap hint", "%d", (char *)mmap(a + 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == a + 2 * PAGE);
    SHOW("mmap hint taken", "%d", (char *)mmap(a, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != a);
    CALL("munmap", SYS_munmap, a, 4 * PAGE);
    CALL("munmap again", SYS_munmap, a, 4 * PAGE);
    CALL("munmap unaligned", SYS_munmap, a + 1, PAGE);
    CALL("munmap no size", SYS_munmap, a, 0L);
    CALL("munmap size wraps", SYS_munmap, a, -1L);
    CALL("write from unmapped", SYS_write, rw, a, 1L);
}

static void before_the_hole(void) {
    alarm(2);
    FAULT("mprotect before the hole", base[0] = 1);
}

static void protections(void) {
    char *a = base = map(4 * PAGE, PROT_READ | PROT_WRITE, 0);
    a[0] = 1;
    CALL("mprotect", SYS_mprotect, a, PAGE, PROT_READ);
    FAULT("mprotect write to read only", a[5] = 1);
    FAULT("mprotect read of read only", (void)*(volatile char *)a);
    CALL("mprotect none", SYS_mprotect, a + PAGE, PAGE, PROT_NONE);
    FAULT("mprotect read of none", (void)*(volatile char *)(a + PAGE + 17));
    FAULT("mprotect unaligned across the border", (void)*(volatile uint64_t *)(a + PAGE - 3));
    CALL("mprotect unaligned", SYS_mprotect, a + 1, PAGE, PROT_READ);
    CALL("mprotect no size", SYS_mprotect, a, 0L, PROT_READ);
    CALL("mprotect bits", SYS_mprotect, a, PAGE, 0x80);
    munmap(a + 3 * PAGE, PAGE);
    CALL("mprotect hole", SYS_mprotect, a + 2 * PAGE, 2 * PAGE, PROT_READ);
    base = a + 2 * PAGE;
    ended("mprotect before the hole end", before_the_hole);
    base = a;
    FAULT("munmap read behind", (void)*(volatile char *)(a + 3 * PAGE + 9));
    FAULT("munmap null pointer", base = NULL; (void)*(volatile char *)16);
    base = a;
    put_file("short", "x");
    int fd = open("short", O_RDWR);
    char *f = base = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    FAULT("mmap behind the end of the file", (void)*(volatile char *)(f + PAGE + 3));
    FAULT("mmap write behind the end of the file", f[PAGE + 3] = 1);
    FAULT("mmap inside the last page", (void)*(volatile char *)(f + 100));
    CALL("read to behind the end of the file", SYS_read, open("/dev/zero", O_RDONLY), f + PAGE, 8L);
    base = map(PAGE, PROT_READ | PROT_WRITE, 0);
    FAULT("mmap call of data", ((void (*)(void))base)());
#ifdef __riscv
    uint32_t code[] = {0x02a00513, 0x00008067}; // li a0, 42; ret
    memcpy(base, code, sizeof code);
    CALL("mprotect executable", SYS_mprotect, base, PAGE, PROT_READ | PROT_EXEC);
    SHOW("mprotect call", "%d", ((int (*)(void))base)());
    mprotect(base, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    code[0] = 0x02b00513;
    memcpy(base, code, sizeof code);
    CALL("riscv_flush_icache", 259, base, base + 8, 0L);
    SHOW("riscv_flush_icache call", "%d", ((int (*)(void))base)());
    // Advice that empties the page takes the code with it; other advice leaves it.
    madvise(base, 4096, MADV_WILLNEED);
    SHOW("madvise keeps code", "%d", ((int (*)(void))base)());
    mmap(base, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memcpy(base, code, sizeof code);
    CALL("riscv_flush_icache shared", 259, base, base + 8, 0L);
    ((int (*)(void))base)();
    madvise(base, 4096, MADV_REMOVE);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) ((void (*)(void))base)(), _exit(0);
    int status;
    waitpid(child, &status, 0);
    SHOW("madvise takes code away", "%d", WTERMSIG(status));
    CALL("riscv_flush_icache flags", 259, base, base + 8, 8L);
#endif
}

static void moving(void) {
    char *a = map(8 * PAGE, PROT_READ | PROT_WRITE, 0);
    a[0] = 7, a[2 * PAGE] = 9;
    munmap(a + 3 * PAGE, PAGE);
    SHOW("mremap shrinks", "%d", (char *)syscall(SYS_mremap, a, 3 * PAGE, 2 * PAGE, 0L) == a);
    SHOW("mremap grows in place", "%d", (char *)syscall(SYS_mremap, a, 2 * PAGE, 4 * PAGE, 0L) == a);
    SHOW("mremap what is there", "%d %d", a[0], a[2 * PAGE]);
    CALL("mremap no room", SYS_mremap, a, 4 * PAGE, 6 * PAGE, 0L);
    char *b = (char *)syscall(SYS_mremap, a, 4 * PAGE, 6 * PAGE, MREMAP_MAYMOVE);
    SHOW("mremap moves", "%d %d", b != a, b[0]);
    char *c = map(6 * PAGE, PROT_NONE, 0);
    SHOW("mremap fixed", "%d", (char *)syscall(SYS_mremap, b, 6 * PAGE, 6 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, c) == c);
    SHOW("mremap fixed what", "%d", c[0]);
    base = b;
    FAULT("mremap old place", (void)*(volatile char *)b);
    CALL("mremap fixed overlapping", SYS_mremap, c, 6 * PAGE, 6 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, c + PAGE);
    CALL("mremap fixed without may move", SYS_mremap, c, 6 * PAGE, 6 * PAGE, MREMAP_FIXED, b);
    CALL("mremap unaligned", SYS_mremap, c + 1, PAGE, PAGE, 0L);
    CALL("mremap no new size", SYS_mremap, c, PAGE, 0L, 0L);
    CALL("mremap flags", SYS_mremap, c, PAGE, PAGE, 0x80L);
    CALL("mremap unmapped", SYS_mremap, b, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
    char *d = (char *)syscall(SYS_mremap, c, 6 * PAGE, 6 * PAGE, MREMAP_MAYMOVE | 4L, NULL);
    SHOW("mremap do not unmap", "%d %d %d", d != MAP_FAILED && d != c, d != MAP_FAILED ? d[0] : -1, c[0]);
}

static void heap(void) {
    char *now = (char *)syscall(SYS_brk, 0L);
    char *end = (char *)(((long)now + 8191) & ~4095L);
    SHOW("brk grows", "%d", (char *)syscall(SYS_brk, end + 3 * PAGE) == end + 3 * PAGE);
    end[2 * PAGE] = 5;
    SHOW("brk shrinks", "%d", (char *)syscall(SYS_brk, end + PAGE) == end + PAGE);
    base = end;
    FAULT("brk behind the end", (void)*(volatile char *)(end + 2 * PAGE));
    SHOW("brk grows again", "%d", (char *)syscall(SYS_brk, end + 3 * PAGE) == end + 3 * PAGE);
    SHOW("brk is zero again", "%d", end[2 * PAGE]);
    SHOW("brk below the start", "%d", (char *)syscall(SYS_brk, 4096L) == end + 3 * PAGE);
    SHOW("brk too high", "%d", (char *)syscall(SYS_brk, 1L << 60) == end + 3 * PAGE);
}

static void advice(void) {
    char *a = base = map(4 * PAGE, PROT_READ | PROT_WRITE, 0);
    unsigned char vec[4] = {0};
    memset(a, 3, 2 * PAGE);
    CALL("mincore", SYS_mincore, a, 4 * PAGE, vec);
    SHOW("mincore what", "%d%d%d%d", vec[0] & 1, vec[1] & 1, vec[2] & 1, vec[3] & 1);
    CALL("mincore unaligned", SYS_mincore, a + 1, PAGE, vec);
    CALL("mincore bad pointer", SYS_mincore, a, PAGE, BAD);
    CALL("madvise", SYS_madvise, a, 4 * PAGE, MADV_DONTNEED);
    SHOW("madvise zero again", "%d", a[0]);
    CALL("madvise advice", SYS_madvise, a, PAGE, 999);
    CALL("madvise unaligned", SYS_madvise, a + 1, PAGE, MADV_NORMAL);
    CALL("mlock", SYS_mlock, a, PAGE);
    CALL("munlock", SYS_munlock, a, PAGE);
    CALL("mlock2", SYS_mlock2, a, PAGE, 1);
    CALL("mlock2 flags", SYS_mlock2, a, PAGE, 8);
    CALL("mlockall flags", SYS_mlockall, 0x100);
    CALL("munlockall", SYS_munlockall);
    munmap(a + 3 * PAGE, PAGE);
    CALL("mincore hole", SYS_mincore, a, 4 * PAGE, vec);
    CALL("madvise hole", SYS_madvise, a, 4 * PAGE, MADV_WILLNEED);
    CALL("mlock hole", SYS_mlock, a, 4 * PAGE);
    CALL("munlock hole", SYS_munlock, a, 4 * PAGE);
    long high = 0x7fff00000000; // nothing of the program is there
    CALL("madvise far away", SYS_madvise, high, PAGE, MADV_DONTNEED);
    CALL("mprotect far away", SYS_mprotect, high, PAGE, PROT_NONE);
    CALL("mlock far away", SYS_mlock, high, PAGE);
    CALL("msync far away", SYS_msync, high, PAGE, MS_ASYNC);
    CALL("mincore far away", SYS_mincore, high, PAGE, vec);
    CALL("mremap far away", SYS_mremap, high, PAGE, PAGE, MREMAP_MAYMOVE);
    CALL("process_madvise bad descriptor", SYS_process_madvise, NOFD, NULL, 0L, MADV_COLD, 0);
    CALL("process_mrelease bad descriptor", SYS_process_mrelease, NOFD, 0);
    int mode = 99;
    CALL("get_mempolicy", SYS_get_mempolicy, &mode, NULL, 0L, NULL, 0L);
    SHOW("get_mempolicy mode", "%d", mode);
    CALL("set_mempolicy", SYS_set_mempolicy, 0, NULL, 0L);
    CALL("set_mempolicy mode", SYS_set_mempolicy, 99, NULL, 0L);
    CALL("mbind mode", SYS_mbind, a, PAGE, 99, NULL, 0L, 0);
    CALL("set_mempolicy_home_node flags", SYS_set_mempolicy_home_node, a, PAGE, 0L, 1L);
    CALL("migrate_pages process", SYS_migrate_pages, 0x7ffffff0, 1L, NULL, NULL);
    CALL("move_pages flags", SYS_move_pages, 0, 0L, NULL, NULL, NULL, 0x100);
    CALL("remap_file_pages bits", SYS_remap_file_pages, a, PAGE, 5, 0L, 0);
    CALL("pkey_free unknown", SYS_pkey_free, 77);
    CALL("pkey_alloc flags", SYS_pkey_alloc, 1L, 0L);
    CALL("pkey_mprotect key", SYS_pkey_mprotect, a, PAGE, PROT_READ, 99);
    CALL("mseal unaligned", 462, a + 1, PAGE, 0L);
    CALL("mseal", 462, a, PAGE, 0L);
    CALL("mseal munmap", SYS_munmap, a, PAGE);
    CALL("mseal mprotect", SYS_mprotect, a, PAGE, PROT_NONE);
    CALL("map_shadow_stack", 453, NULL, PAGE, 0);
    char buf[4] = {0}, from[4] = "abc";
    struct iovec l = {buf, 3}, r = {from, 3};
    CALL("process_vm_readv", SYS_process_vm_readv, getpid(), &l, 1L, &r, 1L, 0L);
    SHOW("process_vm_readv what", "%s", buf);
    CALL("process_vm_writev", SYS_process_vm_writev, getpid(), &r, 1L, &l, 1L, 0L);
    CALL("process_vm_readv process", SYS_process_vm_readv, 0x7ffffff0, &l, 1L, &r, 1L, 0L);
    CALL("process_vm_readv bad pointer", SYS_process_vm_readv, getpid(), BAD, 1L, &r, 1L, 0L);
    CALL("membarrier query", SYS_membarrier, 0, 1, 0);
    CALL("membarrier command", SYS_membarrier, 1 << 20, 0, 0);
    WORKS("membarrier global", syscall(SYS_membarrier, 1, 0, 0));
}

static void growing(void) {
    // A hole in which nothing keeps it from growing.
    char *hole = map(2048 * PAGE, PROT_NONE, 0), *top = hole + 2048 * PAGE;
    munmap(hole, 2048 * PAGE);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN;
    char *a = base = (char *)syscall(SYS_mmap, top - 16 * PAGE, 16 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0L);
    SHOW("mmap grows", "%d", a == top - 16 * PAGE);
    FAULT("mmap grows below", a[-1] = 2);
    FAULT("mmap grows far below", a[-100 * PAGE] = 3);
    SHOW("mmap grows between", "%d %d", a[-1], a[-50 * PAGE]);
    // A call of the kernel touches it first.
    CALL("mmap grows in a call", SYS_read, open("/dev/zero", O_RDONLY), a - 120 * PAGE, 8L);
    CALL("mmap grows no replace", SYS_mmap, a - 60 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0L);
    CALL("mprotect grows", SYS_mprotect, a + PAGE, PAGE, PROT_READ | PROT_GROWSDOWN);
    FAULT("mprotect grows below", a[-110 * PAGE] = 3);
    FAULT("mprotect grows above", a[2 * PAGE] = 3);
    CALL("mprotect grows not", SYS_mprotect, map(PAGE, PROT_READ, 0), PAGE, PROT_READ | PROT_GROWSDOWN);
    CALL("mprotect grows up", SYS_mprotect, a, PAGE, PROT_READ | PROT_GROWSUP);
    CALL("munmap grows", SYS_munmap, a - 130 * PAGE, 146 * PAGE);
    FAULT("munmap grows below", a[-1] = 2);
    CALL("mmap grows shared", SYS_mmap, NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0L);
    CALL("mmap low", SYS_mmap, 4096L, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0L);
    munmap((void *)4096, PAGE);
}

static void huge(void) {
    for (int shared = 0; shared < 2; shared++) {
        int flags = MAP_ANONYMOUS | MAP_HUGETLB | (shared ? MAP_SHARED : MAP_PRIVATE);
        char *a = (char *)syscall(SYS_mmap, NULL, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0L);
        WORKS("mmap huge pages", (long)a);
        if (a == MAP_FAILED) continue;
        a[(2 << 20) - 1] = 1;
        CALL("munmap huge pages in part", SYS_munmap, a, PAGE);
        CALL("munmap huge pages", SYS_munmap, a, 2L << 20);
    }
}

// Uses `size` bytes of the stack.
static int deep(long size) {
    volatile char frame[1 << 16];
    frame[0] = size;
    return size > (long)sizeof frame ? deep(size - sizeof frame) + (frame[0] != (char)size) : 0;
}
static void stack_grows(void) {
    struct rlimit l;
    getrlimit(RLIMIT_STACK, &l);
    l.rlim_cur = 200L << 20;
    setrlimit(RLIMIT_STACK, &l);
    SHOW("setrlimit stack grows", "%d", deep(180L << 20));
}
static void stack_ends(void) {
    struct rlimit l;
    getrlimit(RLIMIT_STACK, &l);
    l.rlim_cur = 4L << 20;
    setrlimit(RLIMIT_STACK, &l);
    SHOW("setrlimit stack ends not yet", "%d", deep(3L << 20));
    deep(5L << 20);
}

void run(void) {
    struct sigaction s = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &s, NULL);
    sigaction(SIGBUS, &s, NULL);
    mappings();
    protections();
    moving();
    heap();
    advice();
    growing();
    huge();
    signal(SIGSEGV, SIG_DFL);
    ended("setrlimit stack grows end", stack_grows);
    ended("setrlimit stack ends end", stack_ends);
}
