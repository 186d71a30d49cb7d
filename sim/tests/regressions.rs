//! Seeds that once found something, and what. They must stay clean.
#![cfg(madsim)]
#![allow(missing_docs)]

use baton_sim::plan::Plan;
use baton_sim::seed;

const FOUND: [(u64, &str); 8] = [
    (101_316, "an end without a number had another id where earlier updates were gone"),
    (103_938, "the same, at a replica that was started again"),
    (106_166, "the same, for a watcher that hops"),
    (104_798, "a process that was being made when its claim was lost and won back"),
    (427, "lines at the end of an attempt were gone before a frozen replica read them"),
    (728, "a worker froze while a process was being made"),
    (313, "a partition was released while its process was dying"),
    (50, "a join that was sent twice took a claim away that had been given since"),
];

#[test]
fn what_was_found_stays_fixed() {
    for (number, what) in FOUND {
        assert_eq!(seed::play(&Plan::draw(number), None).violation, None, "seed {number}: {what}");
    }
}
