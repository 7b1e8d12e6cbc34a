//! What looking into files may cost.

/// Largest file that is taken into memory and looked into; beyond it files are compared as streams.
pub const MAX_CONTENT: u64 = 32 << 20;

/// How much one comparison may cost.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Bytes that may still come out of compressed members, both sides together.
    pub bytes: u64,
    /// Members of archives that may still be looked at.
    pub members: u32,
    /// Findings that may still be made.
    pub findings: u32,
    /// How many archives inside each other are opened.
    pub depth: u32,
}

impl Default for Budget {
    /// For one file: 128 MiB, 20,000 members, 200 findings, 4 archives inside each other.
    fn default() -> Self {
        Self { bytes: 128 << 20, members: 20_000, findings: 200, depth: 4 }
    }
}

impl Budget {
    pub(super) fn take_member(&mut self) -> bool {
        let left = self.members.checked_sub(1);
        self.members = left.unwrap_or(0);
        left.is_some()
    }
}
