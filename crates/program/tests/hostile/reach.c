// Tries to reach something, by its name: prints a line "NAME ok" or "NAME error" for each argument. Runs in a directory
// of its own that has the files `file` and `link` (a symbolic link to it). VICTIM in the environment is the number of a
// process of the same user that stands outside; descriptor 7 is an open directory, and 8 is `file`, open for reading.
// VICTIM may have System V objects and a port of TCP that it listens at: SHM, SEM, MSG, PORT; and a POSIX queue, QUEUE.
//
// `hold` is that process: it makes the objects, prints them as such variables, and removes them when its input ends.
// `inherit COMMAND...` executes a command with a socket of UDP (9) and one of TCP (10), not connected to anything.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static int victim;
static const char *own;

static int opened(int fd) {
  if (fd < 0) return -1;
  close(fd);
  return 0;
}

// Exit code of a child, 0 where all went well.
static int waited(pid_t pid) {
  int status;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return -1;
  if (status == 0) return 0;
  errno = EPERM;
  return -1;
}

static int native(const char *script) {
  pid_t pid = fork();
  if (pid == 0) {
    execl("/bin/bash", "bash", "-c", script, (char *)0);
    _exit(126);
  }
  return waited(pid);
}

static int f_create(void) { return opened(open("new", O_CREAT | O_EXCL | O_WRONLY, 0600)) || unlink("new"); }
static int f_write(void) { return opened(open("file", O_WRONLY)); }
static int f_rdwr(void) { return opened(open("file", O_RDWR)); }
static int f_trunc(void) { return opened(open("file", O_RDONLY | O_TRUNC)); }
static int f_truncate(void) { return truncate("file", 0); }
static int f_link_write(void) { return opened(open("link", O_WRONLY)); }
static int f_dirfd(void) { return opened(openat(7, "file", O_WRONLY)); }
static int f_reopen(void) { return opened(open("/proc/self/fd/8", O_WRONLY)); }
static int f_tmpfile(void) { return opened(open(".", O_TMPFILE | O_RDWR, 0600)); }
static int f_mkdir(void) { return mkdir("dir", 0700) || rmdir("dir"); }
static int f_fifo(void) { return mkfifo("fifo", 0600) || unlink("fifo"); }
static int f_symlink(void) { return symlink("file", "sym") || unlink("sym"); }
static int f_hardlink(void) { return link("file", "hard") || unlink("hard"); }
static int f_rename(void) { return rename("file", "other") || rename("other", "file"); }
static int f_chmod(void) { return chmod("file", 0644); }
static int f_fchmod(void) { return fchmod(8, 0644); }
static int f_utimes(void) { return utimensat(AT_FDCWD, "file", 0, 0); }
static int f_xattr(void) { return setxattr("file", "user.trine", "1", 1, 0); }
static int f_flags(void) {
  int flags = 0;
  return ioctl(8, 0x40086602, &flags);
}
static int f_unixfile(void) {
  struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "socket"};
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  return bind(s, (void *)&a, sizeof a) || unlink("socket");
}
static int f_shm(void) {
  int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
  return id < 0 ? -1 : shmctl(id, IPC_RMID, 0);
}
static int f_native_write(void) { return native("echo x > file"); }
static int f_sendfile(void) {
  int to = open("file", O_WRONLY);
  return to < 0 ? -1 : sendfile(to, 8, 0, 1) < 0;
}
static int f_ownmem(void) { return opened(open("/proc/self/mem", O_RDWR)); }

// What goes on under every refusal but its own.
static int o_null(void) { return opened(open("/dev/null", O_WRONLY)); }
static int o_memfd(void) {
  int fd = memfd_create("m", 0);
  return fd < 0 || write(fd, "x", 1) != 1 || ftruncate(fd, 9) || opened(fd);
}
static int o_pair(void) {
  int ends[2];
  return socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || write(ends[0], "x", 1) != 1;
}
static void *nothing(void *p) { return p; }
static int o_thread(void) {
  pthread_t t;
  return pthread_create(&t, 0, nothing, 0) || pthread_join(t, 0);
}
static int o_child(void) {
  pid_t pid = fork();
  if (pid == 0) _exit(0);
  return waited(pid);
}
static int o_read(void) { return opened(open("file", O_RDONLY)); }
static int o_native(void) { return native("exit 0"); }
// The monitor executes itself.
static int o_again(void) {
  pid_t pid = fork();
  if (pid == 0) {
    close(1);
    execl(own, own, "o_null", (char *)0);
    _exit(126);
  }
  return waited(pid);
}

static int sock(int domain, int type, int protocol) { return opened(socket(domain, type, protocol)); }
static int n_tcp(void) { return sock(AF_INET, SOCK_STREAM, 0); }
static int n_udp(void) { return sock(AF_INET, SOCK_DGRAM, 0); }
static int n_tcp6(void) { return sock(AF_INET6, SOCK_STREAM, 0); }
static int n_netlink(void) { return sock(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE); }
static int n_packet(void) { return sock(AF_PACKET, SOCK_RAW, 0); }
static int n_unix(void) { return sock(AF_UNIX, SOCK_STREAM, 0); }
static int n_abstract(void) {
  struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "\0trine-hostile"};
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  return bind(s, (void *)&a, sizeof a) || opened(s);
}
// One end of such a pair could send to any name.
static int n_datagrams(void) {
  int ends[2];
  return socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends);
}
static int n_native(void) { return native("exec 3<>/dev/udp/127.0.0.1/9"); }

static int e_native(void) { return native("exit 0"); }
static int e_memfd(void) {
  int from = open("/proc/self/exe", O_RDONLY), to = memfd_create("copy", 0);
  while (sendfile(to, from, 0, 1 << 20) > 0) {
  }
  pid_t pid = fork();
  char *args[] = {"copy", "o_null", 0}, *none[] = {0};
  if (pid == 0) {
    close(1);
    syscall(SYS_execveat, to, "", args, none, AT_EMPTY_PATH);
    _exit(126);
  }
  return waited(pid);
}

static int k_fork(void) { return o_child(); }
static int k_vfork(void) {
  pid_t pid = vfork();
  if (pid == 0) _exit(0);
  return waited(pid);
}
static int k_clone3(void) {
  unsigned long args[8] = {[4] = SIGCHLD};
  long pid = syscall(SYS_clone3, args, sizeof args);
  if (pid == 0) _exit(0);
  return waited(pid);
}

static int r_passwd(void) { return opened(open("/etc/passwd", O_RDONLY)); }
static int r_link(void) { return opened(open("/proc/self/root/etc/passwd", O_RDONLY)); }
static int r_dir(void) { return opened(open("/etc", O_RDONLY | O_DIRECTORY)); }

// Ways around, refused under any confinement.
static int victim_file(const char *name, int flags) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", victim, name);
  return opened(open(path, flags));
}
static int a_mem(void) { return victim_file("mem", O_RDWR); }
static int a_memread(void) { return victim_file("mem", O_RDONLY); }
static int a_signal(void) { return kill(victim, 0); }
static int a_pidfd(void) {
  int p = syscall(SYS_pidfd_open, victim, 0);
  return opened(syscall(SYS_pidfd_getfd, p, 1, 0));
}
static int a_userns(void) {
  pid_t pid = fork();
  if (pid == 0) _exit(unshare(CLONE_NEWUSER) != 0);
  return waited(pid);
}
static int a_usernsclone(void) {
  long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  return waited(pid);
}
static int a_native_userns(void) { return native("unshare -U true"); }

static int a_setns(void) {
  pid_t pid = fork();
  if (pid == 0) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", victim);
    _exit(setns(open(path, O_RDONLY), 0) != 0);
  }
  return waited(pid);
}
static int a_mount(void) { return mount("none", ".", "tmpfs", 0, 0) || umount(".") ; }
static int a_vmread(void) {
  char byte;
  struct iovec to = {&byte, 1}, from = {(void *)4096, 1};
  long got = syscall(SYS_process_vm_readv, victim, &to, 1ul, &from, 1ul, 0ul);
  return got < 0 && errno != EFAULT;
}
static int f_kmsg(void) { return opened(open("/dev/kmsg", O_WRONLY)); }
// The way out of a control group: into the one above.
static int c_procs(void) {
  int fd = open("/sys/fs/cgroup/pids/cgroup.procs", O_WRONLY);
  return opened(fd < 0 && errno == ENOENT ? open("/sys/fs/cgroup/cgroup.procs", O_WRONLY) : fd);
}
static int c_proc1(void) {
  int fd = open("/proc/1/root/sys/fs/cgroup/pids/cgroup.procs", O_WRONLY);
  return opened(fd < 0 && errno == ENOENT ? open("/proc/1/root/sys/fs/cgroup/cgroup.procs", O_WRONLY) : fd);
}
static int c_make(void) {
  int at = open("/sys/fs/cgroup/pids", O_PATH);
  if (at < 0) at = open("/sys/fs/cgroup", O_PATH);
  return mkdirat(at, "trine-out", 0700) || unlinkat(at, "trine-out", AT_REMOVEDIR);
}
static int c_rlimit(void) {
  struct rlimit old, more;
  if (getrlimit(RLIMIT_MEMLOCK, &old)) return -1;
  more = old;
  more.rlim_max++;
  return setrlimit(RLIMIT_MEMLOCK, &more) || setrlimit(RLIMIT_MEMLOCK, &old);
}

static int number(const char *name) {
  const char *text = getenv(name);
  return text ? atoi(text) : -1;
}

// Settings of a process outside: each sets what is there already.
static int p_rlimit(void) {
  struct rlimit limit;
  return prlimit(victim, RLIMIT_NOFILE, 0, &limit) || prlimit(victim, RLIMIT_NOFILE, &limit, 0);
}
static int p_affinity(void) {
  cpu_set_t cpus;
  return sched_getaffinity(victim, sizeof cpus, &cpus) < 0 || sched_setaffinity(victim, sizeof cpus, &cpus);
}
static int p_policy(void) {
  struct sched_param none = {0};
  return sched_setscheduler(victim, SCHED_OTHER, &none);
}
static int p_param(void) {
  struct sched_param none = {0};
  return sched_setparam(victim, &none);
}
static int p_attributes(void) {
  char attributes[48] = {0};
  return syscall(SYS_sched_getattr, victim, attributes, sizeof attributes, 0) ||
         syscall(SYS_sched_setattr, victim, attributes, 0);
}
static int p_nice(void) { return setpriority(PRIO_PROCESS, victim, getpriority(PRIO_PROCESS, victim)); }
// The process is the only one of its group.
static int p_nicegroup(void) { return setpriority(PRIO_PGRP, victim, getpriority(PRIO_PGRP, victim)); }
static int p_ioprio(void) { return syscall(SYS_ioprio_set, 1, victim, 0); }
static int p_oom(void) { return victim_file("oom_score_adj", O_WRONLY); }
static int p_filter(void) { return victim_file("coredump_filter", O_WRONLY); }

// Objects that are there already.
static int s_shmat(void) {
  char *at = shmat(number("SHM"), 0, 0);
  if (at == (void *)-1) return -1;
  at[0]++;
  return shmdt(at);
}
static int s_shmctl(void) {
  struct shmid_ds about;
  return shmctl(number("SHM"), IPC_STAT, &about);
}
static int s_semop(void) {
  struct sembuf up = {0, 1, 0};
  return semop(number("SEM"), &up, 1);
}
static int s_semctl(void) { return semctl(number("SEM"), 0, GETVAL) < 0; }
static struct {
  long type;
  char text[8];
} message = {1, "text"};
static int s_msgsnd(void) { return msgsnd(number("MSG"), &message, sizeof message.text, IPC_NOWAIT); }
static int s_msgrcv(void) { return msgrcv(number("MSG"), &message, sizeof message.text, 0, IPC_NOWAIT) < 0; }
static int s_msgctl(void) {
  struct msqid_ds about;
  return msgctl(number("MSG"), IPC_STAT, &about);
}
static int s_queue(void) { return opened(syscall(SYS_mq_open, getenv("QUEUE"), O_RDONLY, 0, 0)); }

// Through sockets that came from outside.
static struct sockaddr_in local(int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return to;
}
static int n_sendto(void) {
  struct sockaddr_in to = local(9);
  return sendto(9, "x", 1, 0, (void *)&to, sizeof to) != 1;
}
static struct msghdr named(struct sockaddr_in *to, struct iovec *part) {
  return (struct msghdr){.msg_name = to, .msg_namelen = sizeof *to, .msg_iov = part, .msg_iovlen = 1};
}
static int n_sendmsg(void) {
  struct sockaddr_in to = local(9);
  struct iovec part = {"x", 1};
  struct msghdr m = named(&to, &part);
  return sendmsg(9, &m, 0) != 1;
}
static int n_sendmmsg(void) {
  struct sockaddr_in to = local(9);
  struct iovec part = {"x", 1};
  struct mmsghdr m = {named(&to, &part), 0};
  return sendmmsg(9, &m, 1, 0) != 1;
}
static int n_fastopen(void) {
  struct sockaddr_in to = local(number("PORT"));
  return sendto(10, "x", 1, MSG_FASTOPEN, (void *)&to, sizeof to) != 1;
}
static int n_tunnel(void) {
  struct ifreq interface = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  int fd = open("/dev/net/tun", O_RDWR);
  return fd < 0 || ioctl(fd, TUNSETIFF, &interface) || opened(fd);
}
// With a descriptor, to another end of the program's own.
static int o_sendmsg(void) {
  int ends[2];
  char room[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec part = {"x", 1};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
  return socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || sendmsg(ends[0], &m, 0) != 1;
}

// What a program may set of itself; under Trine by its number, too, which no filter of the host's kernel lets through.
static int o_settings(void) {
  struct rlimit limit;
  struct sched_param none = {0};
  cpu_set_t cpus;
#ifdef __riscv
  int me = getpid();
#else
  int me = 0;
#endif
  return getrlimit(RLIMIT_NOFILE, &limit) || setrlimit(RLIMIT_NOFILE, &limit) || prlimit(me, RLIMIT_NOFILE, &limit, 0) ||
         sched_getaffinity(me, sizeof cpus, &cpus) < 0 || sched_setaffinity(me, sizeof cpus, &cpus) ||
         sched_setscheduler(me, SCHED_OTHER, &none) || setpriority(PRIO_PROCESS, me, getpriority(PRIO_PROCESS, me)) ||
         syscall(SYS_ioprio_set, 1, me, 0);
}
static int o_comm(void) { return opened(open("/proc/self/comm", O_WRONLY)); }

// Contents past the names of files: there may be no such attribute.
static int r_xattr(void) {
  char value[64];
  return getxattr("/etc", "user.trine", value, sizeof value) < 0 && errno != ENODATA && errno != EOPNOTSUPP;
}
static int r_listxattr(void) {
  char names[4096];
  return listxattr("/etc", names, sizeof names) < 0;
}
static int r_inotify(void) { return inotify_add_watch(inotify_init(), "/etc", IN_CREATE) < 0; }

// Whether a request gets to look at the descriptor, which is none.
static int request(unsigned long number) { return ioctl(-1, number, 0) && errno != EBADF; }
static int f_freeze(void) { return request(0xc0045877); }
static int f_trim(void) { return request(0xc0185879); }
static int f_subvolume(void) { return request(0x5000940e); }
static int f_defragment(void) { return request(0x50009402); }
static int f_lease(void) { return fcntl(8, F_SETLEASE, F_RDLCK) || fcntl(8, F_SETLEASE, F_UNLCK); }

static int a_log(void) { return syscall(SYS_syslog, 10, 0, 0) < 0; }
// Longer than a name may be: nothing is set.
static int a_hostname(void) {
  char name[65] = "";
  return sethostname(name, sizeof name) && errno != EINVAL;
}

// Files by which the kernel executes something with all rights, or does something to all processes.
static int c_core(void) { return opened(open("/proc/sys/kernel/core_pattern", O_WRONLY)); }
static int c_sysrq(void) { return opened(open("/proc/sysrq-trigger", O_WRONLY)); }
static int c_sys(void) { return opened(open("/sys/kernel/profiling", O_WRONLY)) && opened(open("/sys/power/state", O_WRONLY)); }
// Capabilities NET_ADMIN, NET_RAW, SYS_NICE, SYS_TIME, SYSLOG: whether there is one.
static int c_capability(void) {
  unsigned header[2] = {0x20080522, 0}, sets[6] = {0};
  errno = EPERM;
  return syscall(SYS_capget, header, sets) || !(sets[1] & (1 << 12 | 1 << 13 | 1 << 23 | 1 << 25)) || !(sets[4] & 1 << 2);
}

// Only a native program comes to these: Trine's own table refuses them.
static int b_ptrace(void) {
  int status;
  return ptrace(PTRACE_ATTACH, victim, 0, 0) || waitpid(victim, &status, __WALL) != victim ||
         ptrace(PTRACE_DETACH, victim, 0, 0);
}
static int b_uring(void) {
  char params[256] = {0};
  return opened(syscall(SYS_io_uring_setup, 1, params));
}
static int b_keys(void) { return syscall(SYS_keyctl, 0, -3, 1) < 0; }

#define TRY(name) {#name, name}
static const struct {
  const char *name;
  int (*run)(void);
} TRIES[] = {
    TRY(f_create),  TRY(f_write),     TRY(f_rdwr),    TRY(f_trunc),   TRY(f_truncate), TRY(f_link_write),
    TRY(f_dirfd),   TRY(f_reopen),    TRY(f_tmpfile), TRY(f_mkdir),   TRY(f_fifo),     TRY(f_symlink),
    TRY(f_hardlink), TRY(f_rename),   TRY(f_chmod),   TRY(f_fchmod),  TRY(f_utimes),   TRY(f_xattr),
    TRY(f_flags),   TRY(f_unixfile),  TRY(f_shm),     TRY(f_native_write), TRY(f_sendfile), TRY(f_ownmem),
    TRY(o_null),    TRY(o_memfd),     TRY(o_pair),    TRY(o_thread),  TRY(o_child),    TRY(o_read),
    TRY(o_native),  TRY(o_again),     TRY(n_tcp),     TRY(n_udp),     TRY(n_tcp6),     TRY(n_netlink),
    TRY(n_packet),  TRY(n_unix),      TRY(n_abstract), TRY(n_datagrams), TRY(n_native), TRY(e_native),
    TRY(e_memfd),   TRY(k_fork),      TRY(k_vfork),   TRY(k_clone3),  TRY(r_passwd),   TRY(r_link),
    TRY(r_dir),     TRY(a_mem),       TRY(a_memread), TRY(a_signal),  TRY(a_pidfd),    TRY(a_userns),
    TRY(a_usernsclone), TRY(a_native_userns), TRY(a_setns), TRY(a_mount), TRY(a_vmread), TRY(f_kmsg),
    TRY(c_procs),   TRY(c_proc1),     TRY(c_make),    TRY(c_rlimit),  TRY(b_ptrace),   TRY(b_uring),
    TRY(b_keys),
    TRY(p_rlimit), TRY(p_affinity), TRY(p_policy), TRY(p_param), TRY(p_attributes),
    TRY(p_nice), TRY(p_nicegroup), TRY(p_ioprio), TRY(p_oom), TRY(p_filter),
    TRY(s_shmat), TRY(s_shmctl), TRY(s_semop), TRY(s_semctl), TRY(s_msgsnd),
    TRY(s_msgrcv), TRY(s_msgctl), TRY(s_queue), TRY(n_sendto), TRY(n_sendmsg),
    TRY(n_sendmmsg), TRY(n_fastopen), TRY(n_tunnel), TRY(o_sendmsg), TRY(o_settings),
    TRY(o_comm), TRY(r_xattr), TRY(r_listxattr), TRY(r_inotify), TRY(f_freeze),
    TRY(f_trim), TRY(f_subvolume), TRY(f_defragment), TRY(f_lease), TRY(a_log),
    TRY(a_hostname), TRY(c_core), TRY(c_sysrq), TRY(c_sys), TRY(c_capability),
};

static int hold(void) {
  const char *queue = "trine-hostile";
  struct sockaddr_in at = local(0);
  socklen_t size = sizeof at;
  char input;
  int shm = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600), sem = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
  int msg = msgget(IPC_PRIVATE, IPC_CREAT | 0600), s = socket(AF_INET, SOCK_STREAM, 0);
  int mq = syscall(SYS_mq_open, queue, O_RDONLY | O_CREAT, 0600, 0);
  for (int i = 0; i < 100; i++) msgsnd(msg, &message, sizeof message.text, IPC_NOWAIT);
  int bad = shm < 0 || sem < 0 || msg < 0 || mq < 0 || bind(s, (void *)&at, sizeof at) || listen(s, 100) ||
            getsockname(s, (void *)&at, &size);
  printf("SHM=%d SEM=%d MSG=%d QUEUE=%s PORT=%d\n", shm, sem, msg, queue, ntohs(at.sin_port));
  fflush(stdout);
  while (!bad && read(0, &input, 1) > 0) {
  }
  shmctl(shm, IPC_RMID, 0), semctl(sem, 0, IPC_RMID), msgctl(msg, IPC_RMID, 0), syscall(SYS_mq_unlink, queue);
  return bad;
}

static int inherit(char **command) {
  dup2(socket(AF_INET, SOCK_DGRAM, 0), 9);
  dup2(socket(AF_INET, SOCK_STREAM, 0), 10);
  execvp(command[0], command);
  return 127;
}

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "hold")) return hold();
  if (argc > 2 && !strcmp(argv[1], "inherit")) return inherit(argv + 2);
  const char *text = getenv("VICTIM");
  victim = text ? atoi(text) : 0;
  own = argv[0];
  int failed = 0;
  for (int i = 1; i < argc; i++) {
    size_t t = 0;
    while (t < sizeof TRIES / sizeof *TRIES && strcmp(TRIES[t].name, argv[i])) t++;
    if (t == sizeof TRIES / sizeof *TRIES) {
      printf("%s unknown\n", argv[i]);
      return 2;
    }
    errno = 0;
    int bad = TRIES[t].run() != 0;
    failed |= bad;
    printf("%s %s\n", argv[i], bad ? strerror(errno) : "ok");
    fflush(stdout);
  }
  return failed;
}
