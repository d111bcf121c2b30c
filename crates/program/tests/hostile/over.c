// Calls about memory with addresses of the monitor: each is refused, and the monitor lives on. Prints a line for each
// that is not refused.
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

int main(void) {
  // From the first address that is not ours to the last of the kernel's; the host's own mappings lie between.
  const uint64_t end = 1ul << 38;
  uint64_t places[] = {end,           end - 4096,          end + 4096,         0x555555554000, 0x7ffff7dd0000,
                       0x7ffffffde000, 0x7fffffff0000,     0x800000000000,     0xffffffff80000000, ~0xffful};
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
