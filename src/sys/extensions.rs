//! Which repository extensions libgit2 opens.

use std::sync::Once;

/// Extensions of git that libgit2 (1.9) refuses by name, and that change nothing for who adds objects and moves a ref:
///
/// * `partialclone` names a remote that has what is missing here. A missing object is an error, as everywhere.
/// * `noop-v1` means nothing (git's setup.c).
/// * `refstorage` may say `files`, the format that libgit2 reads; whoever opens a repository has to look at its value.
///
/// Not among them is `compatobjectformat`: git then keeps a table of two names for each object, which would lack ours.
const HARMLESS: [&str; 3] = ["partialclone", "noop-v1", "refstorage"];

/// Lets libgit2 open repositories with extensions that it does not know and that are harmless; once is enough.
#[expect(unsafe_code, reason = "git2 marks it as unsafe, since libgit2 keeps the list in a static variable")]
pub fn allow_extensions() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the list is written here alone, once, and every repository is opened after this returned.
        let allowed = unsafe { git2::opts::set_extensions(&HARMLESS) };
        // It fails for lack of memory alone; such a repository is refused then, as it would be without this.
        drop(allowed);
    });
}
