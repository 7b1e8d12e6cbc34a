//! `rebit info`.

use rebit_sandbox::{Finding, Runner};
use serde_json::json;

use crate::environment;
use crate::error::CommandError;
use crate::flags::{Flags, Info};
use crate::output::{self, table};

pub(crate) fn info(flags: &Flags, command: &Info) -> Result<(), CommandError> {
    let probe = rebit_sandbox::probe(&Runner::this_executable())?;
    let store = environment::store_path(flags)?;
    if command.json {
        return output::json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "store": store,
            "platform": environment::native_platform().to_string(),
            "sandbox": probe,
        }));
    }
    let word = |finding: &Finding| if finding.available { "yes" } else { "no" }.to_owned();
    let row = |what: &str, finding: &Finding| vec![what.to_owned(), word(finding), finding.detail.clone()];
    let fact = |what: &str, value: String| vec![what.to_owned(), value, String::new()];
    table(
        &["WHAT", "VALUE", "DETAIL"],
        &[
            fact("rebit", env!("CARGO_PKG_VERSION").to_owned()),
            fact("store", store.display().to_string()),
            fact("platform", environment::native_platform().to_string()),
            fact("kernel", probe.kernel.clone()),
            fact("privilege", format!("{:?}", probe.privilege)),
            fact("driver", format!("{:?}", probe.driver)),
            row("user namespaces", &probe.user_namespaces),
            row("newuidmap", &probe.newuidmap),
            row("overlay", &probe.overlay),
            row("overlay, rootless", &probe.overlay_in_user_namespace),
            row("overlay, lowerdir+", &probe.overlay_lowerdir_append),
            row("overlay, data-only", &probe.overlay_data_only),
            row("EROFS", &probe.erofs),
            row("FUSE", &probe.fuse),
            row("seccomp", &probe.seccomp),
            row("Landlock", &probe.landlock),
            row("cgroups", &probe.cgroups),
            row("openat2", &probe.openat2),
            row("fresh /proc", &probe.fresh_proc),
        ],
    )
}
