//! Durable writes and directory handles: the only room that talks to the kernel about files, and the only one with `unsafe`.
//!
//! Protocol. A file that must appear whole is *prepared* under a temporary name and put into place by `rename` or `link`. A
//! set of files becomes durable by [`flush_all`], whose method depends on the file system ([`Flush`]):
//!
//! * `Batch` (ext4, xfs): start write-out of every file, wait for all of it, then fsync one. That fsync commits the journal
//!   with the metadata of all the others and flushes the disk's cache once.
//! * `Each` (everything else): fsync each file, and each directory after a rename into it. Copy-on-write file systems such as
//!   btrfs keep a log per file, so one fsync says nothing about its neighbours.
//!
//! What belongs to others is touched only through [`Beneath`], a directory handle that cannot be left.
//!
//! A failed fsync is reported once by the kernel and then forgotten: the callers hold the descriptor that wrote the data
//! from the first write to the fsync, and treat any error as "not durable".
//!
//! [`Beneath`]: crate::sys::Beneath
//! [`flush_all`]: crate::sys::flush_all
//! [`Flush`]: crate::sys::Flush

mod beneath;
mod extensions;
mod fault;
mod file;
mod flush;
mod place;
mod sharing;
mod signal;
mod volume;

#[cfg(target_os = "linux")]
pub use beneath::climb;
pub use beneath::{Beneath, Seen, Sort, identity_of};
pub use extensions::allow_extensions;
#[cfg(feature = "fault")]
pub use fault::point;
pub use file::{
    Identity, Prepared, append, create_dir, create_one_dir, create_own_dir, identity, inode, links, open_or_create,
    open_own, overwrite, prepare, process_is_alive, read_small, refuse_foreign_dir, rename, unlink,
};
pub use flush::{Flush, flush_all, sync_all, sync_dir, sync_file};
pub use sharing::{Sharing, create_shared, share, share_file};
pub use signal::ignore_keyboard;
pub use volume::{FileSystem, Space};

/// Marks a step of a protocol at which the tests kill the process; nothing in a release build.
#[macro_export]
macro_rules! fault {
    ($name:literal) => {
        #[cfg(feature = "fault")]
        $crate::sys::point($name);
    };
}
