use super::*;

/// Runs a filter as the kernel does, for the instructions that it uses.
fn evaluate(program: &[seccompiler::sock_filter], arch: u32, number: u32, args: [u64; 2]) -> u32 {
    let mut data = [0_u8; 64];
    data[0..4].copy_from_slice(&number.to_ne_bytes());
    data[4..8].copy_from_slice(&arch.to_ne_bytes());
    data[16..24].copy_from_slice(&args[0].to_ne_bytes());
    data[24..32].copy_from_slice(&args[1].to_ne_bytes());
    let (mut accumulator, mut position) = (0_u32, 0_usize);
    loop {
        let instruction = &program[position];
        let (code, k) = (u32::from(instruction.code), instruction.k);
        let branch = |taken: bool| usize::from(if taken { instruction.jt } else { instruction.jf });
        position += 1;
        match (code & 0x07, code & 0xf0) {
            (libc::BPF_LD, _) => {
                let at = k as usize;
                accumulator = u32::from_ne_bytes(data[at..at + 4].try_into().unwrap());
            }
            (libc::BPF_ALU, libc::BPF_AND) => accumulator &= k,
            (libc::BPF_JMP, libc::BPF_JA) => position += k as usize,
            (libc::BPF_JMP, libc::BPF_JEQ) => position += branch(accumulator == k),
            (libc::BPF_JMP, libc::BPF_JGT) => position += branch(accumulator > k),
            (libc::BPF_JMP, libc::BPF_JGE) => position += branch(accumulator >= k),
            (libc::BPF_JMP, libc::BPF_JSET) => position += branch(accumulator & k != 0),
            (libc::BPF_RET, _) => return k,
            other => panic!("instruction {other:?} is not modelled"),
        }
    }
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const STI: u64 = 0x5412;
const WINSZ: u64 = 0x5413;

fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number.unsigned_abs()
}

fn check_native(number: libc::c_long, args: [u64; 2], expected: u32) {
    let program = filter().unwrap();
    assert_eq!(evaluate(&program, NATIVE, number as u32, args), expected, "call {number} with {args:x?}");
}

#[test]
fn native_calls() {
    let (perm, nosys) = (errno(libc::EPERM), errno(libc::ENOSYS));
    for number in DENIED {
        check_native(*number, [0, 0], perm);
    }
    for number in [
        libc::SYS_read,
        libc::SYS_execve,
        libc::SYS_ptrace,
        libc::SYS_chroot,
        libc::SYS_mknodat,
        libc::SYS_capset,
    ] {
        check_native(number, [u64::MAX, u64::MAX], ALLOW);
    }
    check_native(libc::SYS_clone3, [0, 0], nosys);
    check_native(libc::SYS_clone, [libc::SIGCHLD as u64, 0], ALLOW);
    for flag in NAMESPACE_FLAGS {
        check_native(libc::SYS_clone, [(flag | libc::SIGCHLD) as u64 & 0xffff_ffff, 0], perm);
    }
    check_native(libc::SYS_ioctl, [0, STI], perm);
    check_native(libc::SYS_ioctl, [0, STI | 1 << 40], perm);
    check_native(libc::SYS_ioctl, [0, WINSZ], ALLOW);
    check_native(libc::SYS_socket, [libc::AF_VSOCK as u64, 0], perm);
    check_native(libc::SYS_socket, [libc::AF_INET6 as u64, 0], ALLOW);
    for allowed in PERSONALITIES {
        check_native(libc::SYS_personality, [allowed, 0], ALLOW);
    }
    check_native(libc::SYS_personality, [0x40_0000, 0], perm);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_other_architectures() {
    let program = filter().unwrap();
    let check = |arch, number, args, expected| {
        assert_eq!(
            evaluate(&program, arch, number, args),
            expected,
            "arch {arch:x}, call {number}, {args:x?}"
        );
    };
    let (perm, nosys) = (errno(libc::EPERM), errno(libc::ENOSYS));
    let i386 = 0x4000_0003;
    // Numbers with the x32 bit would pass a list of native numbers.
    check(NATIVE, 0x4000_0000 | libc::SYS_mount as u32, [0, 0], nosys);
    check(i386, 3, [0, 0], ALLOW);
    for number in DENIED_I386 {
        check(i386, *number, [0, 0], perm);
    }
    check(i386, 435, [0, 0], nosys);
    check(i386, 120, [libc::SIGCHLD as u64, 0], ALLOW);
    check(i386, 120, [libc::CLONE_NEWUSER as u64, 0], perm);
    check(i386, 54, [0, STI], perm);
    check(i386, 54, [0, WINSZ], ALLOW);
    // 64-bit ARM on x86: not a thing.
    check(0xc000_00b7, 0, [0, 0], nosys);
}
