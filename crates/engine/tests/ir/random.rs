//! Random blocks: interpreter and compiled code agree, as the block is and as the builder makes it, in both memory models.

use crate::blocks::case;
use crate::harness::everywhere;

#[test]
fn random_blocks_do_the_same_everywhere() {
    for seed in 1..=1500 {
        let (block, given) = case(seed, true);
        if let Err(why) = everywhere(&block, &given) {
            panic!("seed {seed}: {why}\nof\n{block}");
        }
    }
}
