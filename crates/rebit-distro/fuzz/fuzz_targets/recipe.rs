//! A file of recipes is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebit_distro::Recipes;

fuzz_target!(|text: &str| {
    let Ok(recipes) = Recipes::parse(text, "rebit.toml") else { return };
    for (_, recipe) in recipes.iter() {
        assert!(recipe.wanted().is_ok() && !recipe.suites().is_empty());
        let _ = (recipe.inputs("amd64"), recipe.canonical());
    }
});
