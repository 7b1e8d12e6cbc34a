//! Ctrl-C and its relatives: they set the flag that running steps look at.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rebit_sandbox::StopFlag;

use crate::error::CommandError;

/// Makes SIGINT, SIGTERM and SIGHUP set a flag. A second signal ends the process at once; the kernel then ends what it runs.
pub(crate) fn stop_flag() -> Result<StopFlag, CommandError> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        // In this order: the second signal finds the flag set and ends the process.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(|error| CommandError::message(format!("cannot listen to signals: {error}")))?;
    }
    Ok(StopFlag::from(flag))
}
