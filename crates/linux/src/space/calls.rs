//! System calls about mappings.

use super::*;

/// `mmap(addr, length, prot, flags, fd, offset)`.
pub fn mmap(c: &Context, [at, size, protection, flags, fd, offset]: [u64; 6]) -> Result<u64, Errno> {
    let (protection, flags, fd) = (protection as u32, flags as u32, fd as i32);
    c.guest.space.map(&Mapping { at, size, protection, flags, fd, offset })
}

/// `membarrier(command, flags, cpu)`. If all threads must see changed code, all translations are dropped.
pub fn membarrier(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    const SYNC_CORE: i32 = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE;
    let result = c.host(libc::SYS_membarrier, args)?;
    if args[0] as i32 == SYNC_CORE {
        c.guest.space.code_changed(0, END);
    }
    Ok(result)
}

/// `munmap(addr, length)`.
pub fn munmap(c: &Context, [at, size, ..]: [u64; 6]) -> Result<u64, Errno> {
    c.guest.space.unmap(at, size).map(|()| 0)
}

/// `mprotect(addr, length, prot)`.
pub fn mprotect(c: &Context, [at, size, protection, ..]: [u64; 6]) -> Result<u64, Errno> {
    c.guest.space.protect(at, size, protection as u32).map(|()| 0)
}

/// `mremap(old, old size, new size, flags, new)`.
pub fn mremap(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    c.guest.space.remap(args)
}

/// Whether this advice may change the contents of memory (madvise(2)); unknown advice may.
fn advice_drops(advice: u64) -> bool {
    !matches!(
        advice as i32,
        libc::MADV_NORMAL
            | libc::MADV_RANDOM
            | libc::MADV_SEQUENTIAL
            | libc::MADV_WILLNEED
            | libc::MADV_DONTFORK
            ..=libc::MADV_KEEPONFORK
                | libc::MADV_COLD
                | libc::MADV_PAGEOUT
                | libc::MADV_POPULATE_READ
                | libc::MADV_POPULATE_WRITE
                | libc::MADV_COLLAPSE
    )
}

/// Whether `madvise(addr, length, advice)` may change the contents of memory.
pub fn madvise_drops(args: &[u64; 6]) -> bool {
    advice_drops(args[2])
}

/// The most ranges in one call (`UIO_MAXIOV`).
const MOST_RANGES: u64 = 1024;

/// `process_madvise(pidfd, ranges, count, advice, flags)`: addresses above a program's belong to a monitor.
pub fn process_madvise(c: &Context, [pidfd, at, count, advice, flags, _]: [u64; 6]) -> Result<u64, Errno> {
    if count > MOST_RANGES {
        return Err(Errno(libc::EINVAL));
    }
    let ranges =
        (0..count).map(|i| get::<[u64; 2]>(at.wrapping_add(16 * i))).collect::<Result<Vec<_>, _>>()?;
    if ranges.iter().any(|&[start, size]| !is_programs(start, size)) {
        return Err(Errno(libc::ENOMEM));
    }
    let result = c.host(libc::SYS_process_madvise, [pidfd, ranges.as_ptr() as u64, count, advice, flags, 0]);
    if advice_drops(advice) {
        ranges.iter().for_each(|&[start, size]| c.guest.space.code_changed(start, start + size));
    }
    result
}

/// `brk(addr)`.
pub fn brk(c: &Context, [wanted, ..]: [u64; 6]) -> Result<u64, Errno> {
    Ok(c.guest.space.brk(wanted))
}

/// The key of a shared memory segment.
fn key_of(ds: &libc::shmid_ds) -> u32 {
    ds.shm_perm.__key as u32
}

/// `shmat(id, addr, flags)`.
pub fn shmat(c: &Context, [id, wanted, flags, ..]: [u64; 6]) -> Result<u64, Errno> {
    // SAFETY: a structure of integers.
    let mut ds: libc::shmid_ds = unsafe { std::mem::zeroed() };
    c.host(libc::SYS_shmctl, [id, libc::IPC_STAT as u64, &raw mut ds as u64, 0, 0, 0])?;
    let mut inner = c.guest.space.settled();
    let host_flags = flags & !(libc::SHM_EXEC as u64);
    let attach = |inner: &Inner, align: u64| -> Result<(u64, u64), Errno> {
        let size = round_up_to(ds.shm_segsz as u64, align).ok_or(Errno(libc::EINVAL))?;
        let at = match wanted {
            0 => inner.place(size, align)?,
            at if flags & libc::SHM_RND as u64 != 0 => at & !(PAGE - 1),
            at => at,
        };
        if at == 0 || at >= END || size > END - at {
            return Err(Errno(libc::EINVAL));
        }
        Ok((c.host(libc::SYS_shmat, [id, at, host_flags, 0, 0, 0])?, size))
    };
    // The host does not say whether its pages are huge (`SHM_HUGETLB`).
    let (at, size, align) = match attach(&inner, PAGE) {
        Err(Errno(libc::EINVAL)) => {
            let huge = usual_huge_page();
            attach(&inner, huge).map(|(at, size)| (at, size, huge))?
        }
        done => done.map(|(at, size)| (at, size, PAGE))?,
    };
    let read_only = flags & libc::SHM_RDONLY as u64 != 0;
    let exec = if flags & libc::SHM_EXEC as u64 != 0 { EXEC } else { 0 };
    let protection = READ | exec | if read_only { 0 } else { WRITE };
    // Named as on Linux: by its key, with its ID as inode number.
    let (inode, name) = (id & 0xffff_ffff, format!("/SYSV{:08x} (deleted)", key_of(&ds)));
    let file = Some(Arc::new(Mapped { device: 0, inode, name }));
    inner.insert(
        at,
        Region {
            end: at + size,
            protection,
            shared: true,
            file,
            offset: 0,
            name: String::new(),
            grows: false,
            align,
        },
    );
    Ok(at)
}

/// `shmdt(addr)`.
pub fn shmdt(c: &Context, [at, ..]: [u64; 6]) -> Result<u64, Errno> {
    let mut inner = c.guest.space.settled();
    if at >= END {
        return Err(Errno(libc::EINVAL));
    }
    c.host(libc::SYS_shmdt, [at, 0, 0, 0, 0, 0])?;
    let end = inner.regions.get(&at).map_or(at, |r| r.end);
    inner.forget_code(at, end);
    inner.remove(at, end);
    Ok(0)
}
