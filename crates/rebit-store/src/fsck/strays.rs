//! Looking for files that are no part of the store.

use std::path::Path;

use super::Check;
use crate::index::Index;
use crate::pack::DIRECTORY;
use crate::store::SETTINGS;
use crate::{StoreError, cache_dir, format, journal, reserve, scratch, work_lock};

impl Check<'_> {
    /// Names files that nobody knows. They harm nobody, and are not removed.
    pub(super) fn strays(&mut self) -> Result<(), StoreError> {
        let root = &self.store.inner.root;
        // Files first: a pack that is made later has a row by then.
        let files = scratch::names(&root.join(DIRECTORY))?;
        let packs: Vec<String> = self.known_packs()?.into_keys().map(|pack| pack.file_name()).collect();
        let mut known = vec![format::FILE, journal::FILE, journal::NEW, reserve::FILE, SETTINGS];
        known.extend([DIRECTORY, "loose", scratch::SCRATCH]);
        known.extend(Index::file_names());
        let loose = [scratch::CHECKOUTS, cache_dir::CACHES, work_lock::LOCKS];
        let mut strays = Vec::new();
        let mut look = |directory: &Path, is_known: &dyn Fn(&str) -> bool| -> Result<(), StoreError> {
            let names = scratch::names(directory)?;
            strays.extend(names.iter().filter(|name| !is_known(name)).map(|name| directory.join(name)));
            Ok(())
        };
        look(root, &|name| known.contains(&name))?;
        look(&root.join("loose"), &|name| {
            loose.iter().any(|known| known.strip_prefix("loose/") == Some(name))
        })?;
        let unknown = files.into_iter().filter(|name| !packs.contains(name));
        strays.extend(unknown.map(|name| root.join(DIRECTORY).join(name)));
        self.report.stray_files = strays;
        Ok(())
    }
}
