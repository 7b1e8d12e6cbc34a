//! The system call filter of a confined process: a deny-list after the default profile of containers.
//!
//! A program that is refused gets `EPERM`, as if it had no capability, or `ENOSYS` where it should fall back to an older call.
//! A prologue written by hand sorts out the architecture and what gets `ENOSYS`; the list for `EPERM` follows it.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// Calls that are refused whatever their arguments.
const DENIED: &[libc::c_long] = &[
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    // The kernel itself.
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_lookup_dcookie,
    libc::SYS_fanotify_init,
    libc::SYS_vhangup,
    libc::SYS_kcmp,
    // Host-wide clocks.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    // Keyrings are not namespaced.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Ways around the root directory, or to attack the kernel.
    libc::SYS_open_by_handle_at,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
];

/// Every flag of clone(2) that makes a namespace.
const NAMESPACE_FLAGS: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Terminal requests that type for the user or read the console: an escape from a shared terminal.
const DENIED_IOCTLS: [u32; 2] = [0x5412 /* TIOCSTI */, 0x541c /* TIOCLINUX */];

/// Execution domains that programs ask for: Linux, 32 bit, old version numbers, without address space randomisation, and the question.
const PERSONALITIES: [u64; 8] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0x4_0000, 0x4_0008, 0x6_0000, 0xffff_ffff];

/// 32-bit x86 numbers (`syscall_32.tbl`) of the calls in [`DENIED`] and of their older forms.
#[cfg(target_arch = "x86_64")]
const DENIED_I386: &[u32] = &[
    21, 22, 25, 51, 52, 79, 86, 87, 88, 101, 103, 110, 111, 115, 128, 129, 131, 135, 217, 253, 264, 283, 286,
    287, 288, 310, 336, 338, 342, 343, 346, 349, 350, 357, 374, 404, 405, 425, 426, 427, 428, 429, 430, 431,
    432, 433, 442, 443,
];

/// Why a filter could not be made; only a mistake in the tables above can cause it.
pub(crate) type Error = seccompiler::BackendError;

/// Builds the filter for the architecture of this executable.
pub(crate) fn filter() -> Result<BpfProgram, Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().map(|number| (*number, Vec::new())).collect();
    let clone = NAMESPACE_FLAGS.iter().map(|flag| {
        let flag = u64::from(flag.unsigned_abs());
        SeccompRule::new(vec![condition(0, SeccompCmpOp::MaskedEq(flag), flag)?])
    });
    rules.insert(libc::SYS_clone, clone.collect::<Result<_, _>>()?);
    let ioctls = DENIED_IOCTLS
        .iter()
        .map(|request| SeccompRule::new(vec![condition(1, SeccompCmpOp::Eq, u64::from(*request))?]));
    rules.insert(libc::SYS_ioctl, ioctls.collect::<Result<_, _>>()?);
    let unknown = PERSONALITIES.iter().map(|allowed| condition(0, SeccompCmpOp::Ne, *allowed));
    rules.insert(libc::SYS_personality, vec![SeccompRule::new(unknown.collect::<Result<_, _>>()?)?]);
    let vsock = condition(0, SeccompCmpOp::Eq, u64::from(libc::AF_VSOCK.unsigned_abs()))?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(vec![vsock])?]);
    let denials: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, errno_action(libc::EPERM), arch)?.try_into()?;
    let mut program = prologue();
    program.extend(denials);
    Ok(program)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, Error> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn errno_action(errno: i32) -> SeccompAction {
    SeccompAction::Errno(errno.unsigned_abs())
}

/// The few instructions of the kernel's filter language that the prologue needs.
mod bpf {
    use seccompiler::sock_filter;

    /// Offsets in `struct seccomp_data`.
    pub(super) const NUMBER: u32 = 0;
    pub(super) const ARCH: u32 = 4;
    pub(super) const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
        sock_filter { code: code as u16, jt, jf, k }
    }

    /// Offset of the low half of an argument on a little-endian machine.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn argument(index: u32) -> u32 {
        16 + 8 * index
    }

    pub(super) fn load(offset: u32) -> sock_filter {
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
    }

    pub(super) fn jump(forward: usize) -> sock_filter {
        instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, forward as u32)
    }

    /// Skips `otherwise` instructions unless the accumulator equals `value`.
    pub(super) fn if_equal(value: u32, otherwise: u8) -> sock_filter {
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, otherwise, value)
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn if_at_least(value: u32, otherwise: u8) -> sock_filter {
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, otherwise, value)
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn if_any_bit(mask: u32, otherwise: u8) -> sock_filter {
        instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, otherwise, mask)
    }

    pub(super) fn give(action: u32) -> sock_filter {
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, action)
    }

    pub(super) fn refuse(errno: i32) -> sock_filter {
        give(libc::SECCOMP_RET_ERRNO | errno.unsigned_abs())
    }
}

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;

/// What runs before the list: native calls go on to it, foreign ones are decided here.
fn prologue() -> BpfProgram {
    let mut native = vec![bpf::load(bpf::NUMBER)];
    // The x32 form of a call has another number and would pass the list.
    #[cfg(target_arch = "x86_64")]
    native.extend([bpf::if_at_least(0x4000_0000, 1), bpf::refuse(libc::ENOSYS)]);
    // clone3 keeps its flags in memory, where a filter cannot look: libraries fall back to clone.
    native.extend([bpf::if_equal(libc::SYS_clone3 as u32, 1), bpf::refuse(libc::ENOSYS)]);
    let foreign = foreign();
    native.push(bpf::jump(foreign.len()));
    let mut program =
        vec![bpf::load(bpf::ARCH), bpf::if_equal(NATIVE, 1), bpf::jump(1), bpf::jump(native.len())];
    program.extend(native);
    program.extend(foreign);
    program
}

/// Calls of another architecture: 32-bit x86 programs run under a list of their own, others not at all.
#[cfg(target_arch = "x86_64")]
fn foreign() -> BpfProgram {
    const I386: u32 = 0x4000_0003;
    const CLONE: u32 = 120;
    const IOCTL: u32 = 54;
    const CLONE3: u32 = 435;
    let mut program =
        vec![bpf::if_equal(I386, 1), bpf::jump(1), bpf::refuse(libc::ENOSYS), bpf::load(bpf::NUMBER)];
    for number in DENIED_I386 {
        program.extend([bpf::if_equal(*number, 1), bpf::refuse(libc::EPERM)]);
    }
    program.extend([bpf::if_equal(CLONE3, 1), bpf::refuse(libc::ENOSYS)]);
    let flags = NAMESPACE_FLAGS.iter().fold(0, |mask, flag| mask | flag.unsigned_abs());
    let [sti, linux] = DENIED_IOCTLS;
    program.extend([
        bpf::if_equal(CLONE, 4),
        bpf::load(bpf::argument(0)),
        bpf::if_any_bit(flags, 1),
        bpf::refuse(libc::EPERM),
        bpf::give(bpf::ALLOW),
        bpf::if_equal(IOCTL, 5),
        bpf::load(bpf::argument(1)),
        bpf::if_equal(sti, 1),
        bpf::refuse(libc::EPERM),
        bpf::if_equal(linux, 1),
        bpf::refuse(libc::EPERM),
        bpf::give(bpf::ALLOW),
    ]);
    program
}

/// Calls of another architecture are refused.
#[cfg(target_arch = "aarch64")]
fn foreign() -> BpfProgram {
    vec![bpf::refuse(libc::ENOSYS)]
}

#[cfg(test)]
mod tests;
