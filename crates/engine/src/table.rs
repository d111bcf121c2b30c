//! A hash table that any number of threads read without a lock, while one at a time changes it.
//!
//! The elements are linked directly. An element that was taken out still leads to the next one, for a reader
//! that is at it. It may be freed when no reader can be at it any more ([`crate::epochs`]).

use crate::sync::{AtomicPtr, Ordering};

/// An element of a table.
pub trait Chained: Sized {
    /// The next element of its chain.
    fn next(&self) -> &AtomicPtr<Self>;
    /// Number of its chain.
    fn chain(&self) -> usize;
}

/// The heads of the chains.
pub struct Table<T>(Box<[AtomicPtr<T>]>);

impl<T: Chained> Table<T> {
    /// A table with these heads, all of which are null. There must be more of them than any element's chain
    /// number.
    pub fn new(heads: Box<[AtomicPtr<T>]>) -> Table<T> {
        Table(heads)
    }

    /// The first element of a chain that satisfies `wanted`.
    ///
    /// # Safety
    /// No element that was in the chain since the caller's last safepoint is freed during the call.
    pub unsafe fn find(&self, chain: usize, wanted: impl Fn(&T) -> bool) -> Option<*mut T> {
        let mut at = self.0[chain].load(Ordering::Acquire);
        loop {
            // SAFETY: by the caller.
            let element = unsafe { at.as_ref() }?;
            if wanted(element) {
                return Some(at);
            }
            at = element.next().load(Ordering::Acquire);
        }
    }

    /// Adds an element.
    ///
    /// # Safety
    /// `element` is complete, in no table, and stays there until it is taken out. No other thread changes the
    /// table.
    pub unsafe fn insert(&self, element: *mut T) {
        // SAFETY: by the caller.
        let new = unsafe { &*element };
        let head = &self.0[new.chain()];
        new.next().store(head.load(Ordering::Relaxed), Ordering::Relaxed);
        // A thread that finds the element finds what was written to it before.
        head.store(element, Ordering::Release);
    }

    /// Takes an element out, if it is in the table.
    ///
    /// # Safety
    /// `element` is not freed. No other thread changes the table.
    pub unsafe fn remove(&self, element: *mut T) {
        // SAFETY: by the caller.
        let mut place = &self.0[unsafe { &*element }.chain()];
        loop {
            let at = place.load(Ordering::Relaxed);
            // SAFETY: what is in the table is not freed.
            let Some(found) = (unsafe { at.as_ref() }) else { return };
            if at == element {
                // Release: a thread that reads this continues to elements that others may have added.
                return place.store(found.next().load(Ordering::Relaxed), Ordering::Release);
            }
            place = found.next();
        }
    }

    /// Every element.
    ///
    /// # Safety
    /// No other thread changes the table while the result is used.
    pub unsafe fn all(&self) -> impl Iterator<Item = *mut T> {
        self.0.iter().flat_map(|head| {
            let behind = |at: *mut T| {
                // SAFETY: what is in the table is not freed.
                let element = unsafe { at.as_ref() };
                element.map(|e| e.next().load(Ordering::Relaxed)).filter(|next| !next.is_null())
            };
            let first = head.load(Ordering::Acquire);
            std::iter::successors(Some(first).filter(|at| !at.is_null()), move |&at| behind(at))
        })
    }
}
