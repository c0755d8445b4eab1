//! Which system calls a tool may not make: those that reach past its namespaces, or that
//! are known for holes in kernels and that no compiler or test runner needs.
//!
//! A list of what is forbidden and not of what is allowed, because the tools are whatever
//! the machine's owner installed. Must not: decide when the filter is put on.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// What a tool may not do besides what is never allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forbidden {
    /// Sockets of the Internet: where no namespace keeps the tool from the network.
    pub(super) internet: bool,
    /// Sockets of this machine and looking into processes: where the tool sees other
    /// programs' files and processes.
    pub(super) neighbours: bool,
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Kernel modules, other kernels, clocks, keys of the kernel, accounting, file handles,
/// mounts, and what watches or traces the whole machine.
const NEVER: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    libc::SYS_kexec_file_load,
];

/// What programs try first and do without when the kernel has it not. The flags of `clone3`
/// lie in memory, where a filter cannot read them.
const ABSENT: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Looking into another process.
const INTO_PROCESSES: &[i64] = &[
    libc::SYS_kcmp,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
];

/// The namespaces that `clone` can make.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// CLONE_NEWTIME of <linux/sched.h>; only `unshare` has it, for `clone` the bit is part of a signal.
const NEW_TIME: u64 = 0x80;

/// Families of sockets that tools use: this machine, IPv4, IPv6, routes.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// The kind of a socket without its flags.
const SOCKET_KIND: u64 = 0xf;

/// The x32 interface of x86-64 counts from here; a call by such a number must not get past the filter.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// The filters, to be put on in this order.
pub(super) fn filters(forbidden: Forbidden) -> Result<[BpfProgram; 2], String> {
    let mut refused: Rules = NEVER.iter().map(|call| (*call, vec![])).collect();
    let mut refuse = |call: i64, rules: Vec<SeccompRule>| {
        refused.insert(call, rules);
    };
    refuse(libc::SYS_clone, new_namespaces(0));
    let mut unshare = new_namespaces(0);
    unshare.push(when([bits(0, NEW_TIME)]));
    refuse(libc::SYS_unshare, unshare);
    // putting characters into a terminal's input
    let ioctls = [libc::TIOCSTI, libc::TIOCLINUX].map(|request| when([equal(1, request)]));
    refuse(libc::SYS_ioctl, ioctls.to_vec());
    refuse(libc::SYS_socket, sockets(forbidden));
    if forbidden.neighbours {
        for call in INTO_PROCESSES {
            refuse(*call, vec![]);
        }
    }
    let absent: Rules = ABSENT.iter().map(|call| (*call, vec![])).collect();
    Ok([program(absent, libc::ENOSYS)?, program(refused, libc::EPERM)?])
}

fn program(rules: Rules, errno: libc::c_int) -> Result<BpfProgram, String> {
    #[cfg(target_arch = "x86_64")]
    let rules = {
        let mut all = rules.clone();
        all.extend(rules.into_iter().map(|(call, rules)| (call | X32, rules)));
        all
    };
    let arch = std::env::consts::ARCH.try_into().map_err(text)?;
    let refused = SeccompAction::Errno(errno as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).map_err(text)?;
    filter.try_into().map_err(text)
}

fn text(error: seccompiler::BackendError) -> String {
    error.to_string()
}

/// One rule for each kind of namespace.
fn new_namespaces(argument: u8) -> Vec<SeccompRule> {
    NAMESPACES
        .into_iter()
        .map(|flag| when([bits(argument, flag as u64)]))
        .collect()
}

/// Which sockets are refused.
fn sockets(forbidden: Forbidden) -> Vec<SeccompRule> {
    let family = |family: libc::c_int| condition(0, Op::Eq, family as u64);
    let mut rules = vec![
        when(FAMILIES.map(|family| condition(0, Op::Ne, family as u64))),
        when([
            family(libc::AF_NETLINK),
            condition(2, Op::Ne, libc::NETLINK_ROUTE as u64),
        ]),
    ];
    for internet in [libc::AF_INET, libc::AF_INET6] {
        if forbidden.internet {
            rules.push(when([family(internet)]));
        } else {
            let raw = condition(1, Op::MaskedEq(SOCKET_KIND), libc::SOCK_RAW as u64);
            rules.push(when([family(internet), raw]));
        }
    }
    if forbidden.neighbours {
        rules.push(when([family(libc::AF_UNIX)]));
    }
    rules
}

fn bits(argument: u8, flag: u64) -> SeccompCondition {
    condition(argument, Op::MaskedEq(flag), flag)
}

fn equal(argument: u8, value: libc::Ioctl) -> SeccompCondition {
    condition(argument, Op::Eq, value)
}

/// Compares the lower half of an argument: the kernel ignores the upper one of these, so that
/// it must make no difference.
fn condition(argument: u8, op: Op, value: u64) -> SeccompCondition {
    SeccompCondition::new(argument, Len::Dword, op, value).expect("system calls have six arguments")
}

fn when<const N: usize>(conditions: [SeccompCondition; N]) -> SeccompRule {
    SeccompRule::new(conditions.to_vec()).expect("a rule has a condition")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_can_be_made_and_is_of_a_size_that_the_kernel_takes() {
        for internet in [true, false] {
            for neighbours in [true, false] {
                let forbidden = Forbidden { internet, neighbours };
                for filter in filters(forbidden).expect("a filter") {
                    // BPF_MAXINSNS
                    assert!((10..4096).contains(&filter.len()), "{}", filter.len());
                }
            }
        }
    }
}
