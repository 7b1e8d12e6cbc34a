//! Which capabilities a confined process keeps, and changing user.

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use crate::report::{Context, Failure};
use crate::{RunSpec, Security, Step};

/// What containers have by default: enough for package managers, not enough to touch the host.
pub(crate) const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Drops everything that is not in [`DEFAULT`] from the bounding set; what is not there is not missed.
fn limit_bounding_set() -> Result<(), Errno> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) if !DEFAULT.contains(capability) => remove_capability_from_bounding_set(capability)?,
            Ok(_) => {}
            // Past the last capability of this kernel.
            Err(_) => break,
        }
    }
    Ok(())
}

/// Becomes the user of the spec, with the capabilities of a container.
///
/// A root user has [`DEFAULT`] as permitted and effective set; any other user has none, and what a set-uid program may regain is bounded by [`DEFAULT`].
pub(crate) fn change_user(spec: &RunSpec) -> Result<(), Failure> {
    if spec.security == Security::Sandbox {
        limit_bounding_set().step(Step::Capabilities)?;
    }
    match clear_ambient_capability_set() {
        // Kernels before 4.3 have no ambient set.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(Failure::new(Step::Capabilities, errno)),
    }
    let user = |result: Result<(), Errno>, detail: String| {
        result.step(Step::User).map_err(|failure| failure.detail(detail))
    };
    set_groups(&spec.groups)?;
    let gid = Gid::from_raw(spec.gid);
    user(set_thread_res_gid(gid, gid, gid), format!("gid {}", spec.gid))?;
    let uid = Uid::from_raw(spec.uid);
    user(set_thread_res_uid(uid, uid, uid), format!("uid {}", spec.uid))?;
    let held = capabilities(None).step(Step::Capabilities)?;
    let kept = match spec.security {
        Security::Sandbox => held.permitted & DEFAULT,
        Security::Insecure => held.permitted,
    };
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).step(Step::Capabilities)
}

fn set_groups(groups: &[u32]) -> Result<(), Failure> {
    let ids: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    match set_thread_groups(&ids) {
        // A user namespace with a single group: the caller's own groups stay, and show up as `nogroup`.
        Err(Errno::PERM) if groups.is_empty() && groups_are_fixed() => Ok(()),
        other => other.step(Step::User).map_err(|failure| failure.detail(format!("groups {groups:?}"))),
    }
}

fn groups_are_fixed() -> bool {
    std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
}
