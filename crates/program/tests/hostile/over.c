// Calls about memory with addresses of the monitor: each is refused, and the monitor lives on. Prints a line for each
// that is not refused.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int bad;

static void expect(const char *what, uint64_t at, long result) {
  if (result == -1) return;
  printf("%s at %#lx gave %#lx\n", what, at, result);
  bad = 1;
}

// The first of the monitor's mappings that can be written, which the host's kernel tells: 0 where it does not.
static uint64_t monitors(uint64_t end) {
  FILE *f = fopen("/proc/self/smaps", "r");
  char line[512], rights[8];
  uint64_t at, to, found = 0;
  while (f && !found && fgets(line, sizeof line, f))
    if (sscanf(line, "%lx-%lx %7s", &at, &to, rights) == 3 && at >= end && !strncmp(rights, "rw", 2)) found = at;
  if (f) fclose(f);
  return found;
}

// Calls that read or write memory whose address stands in a structure, or in an argument that may be a number.
static void nested(uint64_t at) {
  char byte[64] = "x";
  int ends[2], files[2], self = getpid();
  socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
  pipe(files);
  struct iovec v = {(void *)at, 8}, mine = {byte, 8};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  struct mmsghdr mm = {m, 0};
  // There is always something to read.
  for (int i = 0; i < 4; i++) {
    write(ends[1], "something", 9);
    write(files[1], "something", 9);
  }
  expect("readv", at, readv(files[0], &v, 1));
  expect("writev", at, writev(files[1], &v, 1));
  int file = open("/proc/self/exe", O_RDONLY), memory = syscall(SYS_memfd_create, "m", 0);
  expect("preadv", at, preadv(file, &v, 1, 0));
  expect("preadv2", at, syscall(SYS_preadv2, file, &v, 1l, 0l, 0l, 0));
  expect("pwritev", at, pwritev(memory, &v, 1, 0));
  expect("pwritev2", at, syscall(SYS_pwritev2, memory, &v, 1l, 0l, 0l, 0));
  expect("vmsplice", at, syscall(SYS_vmsplice, files[1], &v, 1l, 0));
  expect("recvmsg", at, recvmsg(ends[0], &m, MSG_DONTWAIT));
  expect("sendmsg", at, sendmsg(ends[0], &m, MSG_DONTWAIT));
  expect("recvmmsg", at, syscall(SYS_recvmmsg, ends[0], &mm, 1, MSG_DONTWAIT, 0));
  expect("sendmmsg", at, syscall(SYS_sendmmsg, ends[0], &mm, 1, MSG_DONTWAIT));
  m = (struct msghdr){.msg_iov = &mine, .msg_iovlen = 1, .msg_name = (void *)at, .msg_namelen = 16};
  expect("sendmsg name", at, sendmsg(ends[0], &m, MSG_DONTWAIT));
  m = (struct msghdr){.msg_iov = &mine, .msg_iovlen = 1, .msg_control = (void *)at, .msg_controllen = 32};
  expect("sendmsg control", at, sendmsg(ends[0], &m, MSG_DONTWAIT));
  m = (struct msghdr){.msg_iov = (void *)at, .msg_iovlen = 1};
  expect("recvmsg ranges", at, recvmsg(ends[0], &m, MSG_DONTWAIT));
  expect("process_vm_readv into it", at, syscall(SYS_process_vm_readv, self, &v, 1l, &mine, 1l, 0l));
  expect("process_vm_readv from it", at, syscall(SYS_process_vm_readv, self, &mine, 1l, &v, 1l, 0l));
  expect("process_vm_writev from it", at, syscall(SYS_process_vm_writev, self, &v, 1l, &mine, 1l, 0l));
  expect("process_vm_writev into it", at, syscall(SYS_process_vm_writev, self, &mine, 1l, &v, 1l, 0l));
  expect("ioctl FIONREAD", at, syscall(SYS_ioctl, files[0], FIONREAD, at));
  expect("ioctl FIONBIO", at, syscall(SYS_ioctl, files[0], FIONBIO, at));
  expect("ioctl unknown to us", at, syscall(SYS_ioctl, memory, 0x80087601ul, at));
  struct ifconf interfaces = {.ifc_len = 64, .ifc_buf = (char *)at};
  int socket4 = socket(AF_INET, SOCK_DGRAM, 0);
  long r = socket4 < 0 ? -1 : ioctl(socket4, SIOCGIFCONF, &interfaces);
  expect("ioctl SIOCGIFCONF", at, r == 0 && interfaces.ifc_len == 0 ? -1 : r);
  close(socket4);
  expect("fcntl F_GETLK", at, syscall(SYS_fcntl, memory, F_GETLK, at));
  expect("fcntl F_GETOWN_EX", at, syscall(SYS_fcntl, ends[0], F_GETOWN_EX, at));
  expect("prctl PR_GET_NAME", at, syscall(SYS_prctl, PR_GET_NAME, at, 0, 0, 0));
  expect("prctl PR_SET_NAME", at, syscall(SYS_prctl, PR_SET_NAME, at, 0, 0, 0));
  expect("prctl PR_GET_PDEATHSIG", at, syscall(SYS_prctl, PR_GET_PDEATHSIG, at, 0, 0, 0));
  expect("prctl PR_GET_CHILD_SUBREAPER", at, syscall(SYS_prctl, PR_GET_CHILD_SUBREAPER, at, 0, 0, 0));
  expect("readlinkat", at, syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/cwd", at, 64l));
  expect("readlinkat of the program", at, syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", at, 64l));
  int sem = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
  expect("semctl GETALL", at, syscall(SYS_semctl, sem, 0, GETALL, at));
  expect("semctl IPC_STAT", at, syscall(SYS_semctl, sem, 0, IPC_STAT, at));
  expect("semctl IPC_INFO", at, syscall(SYS_semctl, sem, 0, IPC_INFO, at));
  semctl(sem, 0, IPC_RMID);
  struct {
    uint64_t value, at;
    uint32_t flags, unused;
  } waits = {0, at, 2, 0};
  struct timespec past = {0, 0};
  r = syscall(SYS_futex_waitv, &waits, 1, 0, &past, 1);
  expect("futex_waitv", at, r == -1 && errno == ETIMEDOUT ? 0 : r);
  for (int i = 0; i < 2; i++) close(ends[i]), close(files[i]);
  close(file), close(memory);
}

int main(void) {
  // From the first address that is not ours to the last of the kernel's; the host's own mappings lie between.
  const uint64_t end = 1ul << 38;
  uint64_t places[] = {end,           end - 4096,          end + 4096,         0x555555554000, 0x7ffff7dd0000,
                       0x7ffffffde000, 0x7fffffff0000,     0x800000000000,     0xffffffff80000000, ~0xffful, monitors(end)};
  uint64_t sizes[] = {4096, 8192, 1ul << 30, 1ul << 46, 1ul << 47, ~0xffful};
  char *mine = mmap(0, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int shm = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
  for (size_t p = 0; p < sizeof places / 8; p++) {
    for (size_t s = 0; s < sizeof sizes / 8; s++) {
      uint64_t at = places[p], size = sizes[s];
      if (at < end && size <= end - at) continue;
      expect("mmap", at, syscall(SYS_mmap, at, size, 3, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      expect("munmap", at, syscall(SYS_munmap, at, size));
      expect("mprotect", at, syscall(SYS_mprotect, at, size, 0));
      expect("mremap from", at, syscall(SYS_mremap, at, size, 4096, MREMAP_MAYMOVE, 0));
      expect("mremap to", at, syscall(SYS_mremap, mine, 4096, size, MREMAP_MAYMOVE | MREMAP_FIXED, at));
      for (int advice = 0; advice < 26; advice++) expect("madvise", at, syscall(SYS_madvise, at, size, advice));
      expect("mlock", at, syscall(SYS_mlock, at, size));
      expect("mlock2", at, syscall(SYS_mlock2, at, size, 1));
      expect("munlock", at, syscall(SYS_munlock, at, size));
      expect("msync", at, syscall(SYS_msync, at, size, MS_INVALIDATE | MS_SYNC));
      expect("mincore", at, syscall(SYS_mincore, at, size, mine));
      expect("mbind", at, syscall(SYS_mbind, at, size, 0, 0, 0, 0));
      expect("remap_file_pages", at, syscall(SYS_remap_file_pages, at, size, 0, 0, 0));
      expect("pkey_mprotect", at, syscall(SYS_pkey_mprotect, at, size, 0, 0));
      struct iovec v = {(void *)at, size};
      int self = syscall(SYS_pidfd_open, getpid(), 0);
      expect("process_madvise", at, syscall(SYS_process_madvise, self, &v, 1, MADV_DONTNEED, 0));
      close(self);
    }
    if (places[p] >= end) {
      nested(places[p]);
      expect("shmat", places[p], syscall(SYS_shmat, shm, places[p], 0x4000));
      expect("shmdt", places[p], syscall(SYS_shmdt, places[p]));
      expect("getrandom", places[p], syscall(SYS_getrandom, places[p], 64, 0));
      expect("read", places[p], syscall(SYS_read, 0, places[p], 64));
      expect("write", places[p], syscall(SYS_write, 1, places[p], 64));
      expect("brk", places[p], (uint64_t)syscall(SYS_brk, places[p]) >= end ? 0 : -1);
    }
  }
  shmctl(shm, IPC_RMID, 0);
  puts(bad ? "over failed" : "over passed");
  return bad;
}
