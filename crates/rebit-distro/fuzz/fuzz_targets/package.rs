//! An index is read or refused, and what it has can be chosen from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_distro::package::Universe;
use rebit_distro::relation;
use rebit_distro::solve::{Request, solve};

fuzz_target!(|bytes: &[u8]| {
    let mut universe = Universe::new("amd64");
    if universe.add(bytes, 0, "index").is_err() {
        return;
    }
    let universe = universe.finish();
    let packages = universe.names().filter_map(|name| relation::relation(name).ok()).take(2).collect();
    let _ = solve(&universe, &Request { packages, dependencies: true, ..Request::default() });
});
