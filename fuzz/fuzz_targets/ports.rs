//! Any text as the option `-p`: refused with one line, or ports that make sense.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    match trine_hostnet::ports::parse(&text) {
        Err(e) => assert!(e.to_string().bytes().all(|b| !b.is_ascii_control())),
        Ok(maps) => {
            assert!(!maps.is_empty());
            for map in maps {
                assert!(map.guest != 0 && map.host_first <= map.host_last);
                assert!(map.host_first != 0 || map.host_last == 0);
            }
        }
    }
});
