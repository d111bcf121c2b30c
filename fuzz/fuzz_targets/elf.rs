//! Any file as a program: refused, or all of its parts lie in the file and in the room that is made for them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trine_linux::space::{END, PAGE, START};
use trine_program::elf::Headers;

fuzz_target!(|data: &[u8]| {
    let read = |at: u64, size| data.get(at as usize..at as usize + size).map(<[u8]>::to_vec);
    let length = data.len() as u64;
    let Ok(headers) = Headers::parse(length, &read) else { return };
    let (first, end) = headers.span();
    assert!(first < end && first % PAGE == 0 && end % PAGE == 0);
    // Where a relocatable one may come to lie: as low and as high as can be.
    let places = [START, END - (end - first)].map(|base| base.wrapping_sub(first));
    for bias in if headers.relocatable() { places } else { [0, 0] } {
        let (low, high) = (bias.wrapping_add(first), bias.wrapping_add(end));
        // Others lie where they say; the host refuses addresses that are too low.
        assert!((START <= low || !headers.relocatable()) && low < high && high <= END);
        let parts = headers.parts(bias);
        assert!(!parts.is_empty());
        for part in parts {
            assert!(part.at % PAGE == 0 && part.size > 0 && part.clear < PAGE && part.protection < 8);
            assert!(part.at >= low && part.at + part.size + part.clear <= high);
            assert!(part.clear == 0 || (part.at + part.size + part.clear) % PAGE == 0);
            assert!(part.offset.is_none_or(|o| o % PAGE == 0 && o + part.size <= length));
        }
    }
});
