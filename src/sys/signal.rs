//! Signals of the terminal.

/// Lets the keyboard's SIGINT and SIGQUIT pass by this process from now on, as system(3) does while a command runs: the
/// command got them too and decides.
#[expect(unsafe_code, reason = "no safe way to ignore a signal without another crate")]
pub fn ignore_keyboard() {
    // SAFETY: SIG_IGN is a valid disposition for both signals, and no handler of ours is replaced.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGQUIT, libc::SIG_IGN);
    }
}
