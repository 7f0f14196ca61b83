//! Building a commit in memory and bringing its objects to disk.
//!
//! libgit2 writes into an object database that exists in memory alone, so it never meets a torn file of the same name on disk
//! (it would neither replace nor accept that). A small commit becomes loose objects, a large one a single pack: 2,000 records
//! are two files instead of ten thousand.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use git2::{ObjectType, Odb, Oid, Repository, Signature};

use super::NewFile;
use crate::error::{Doing, Result};
use crate::fault;
use crate::repo::{Identity, object_id};
use crate::sys::{self, Flush, Prepared};

/// Most objects that are written loose; more become one pack.
const LOOSE_MAX: usize = 64;
/// git's mode of a plain file.
pub(super) const BLOB_MODE: i32 = 0o100_644;
const TREE_MODE: i32 = 0o040_000;
/// git's mode of objects: nobody rewrites them.
const OBJECT_MODE: u32 = 0o444;
/// How often an object is renamed to a directory that somebody else removes.
const PLACE_ATTEMPTS: u32 = 100;

/// A commit and everything new that it needs.
pub(super) struct Batch {
    memory: Repository,
    objects: Vec<(Oid, ObjectType)>,
    pub commit: Oid,
    pub tree: Oid,
    /// The files with their blobs.
    pub entries: Vec<(String, Oid)>,
}

/// Builds the commit that adds `files` to the tree `root`; `contents` is what is stored for each.
pub(super) fn build(
    git: &Repository,
    root: Option<Oid>,
    parents: &[Oid],
    files: &[NewFile<'_>],
    contents: &[Cow<'_, [u8]>],
    message: &str,
    who: &Identity,
) -> Result<Batch> {
    let doing = || "build a commit".to_owned();
    // The parts that stay are on disk, and the database in memory has only what is new, so libgit2's check that every
    // entry of a tree exists would fail. Whatever enters a tree here was either just written or read from the old tree.
    git2::opts::strict_object_creation(false);
    let odb = Odb::new_ext(git.object_format()).doing(doing)?;
    odb.add_new_mempack_backend(1).doing(doing)?;
    let memory = Repository::from_odb(odb).doing(doing)?;
    let mut builder = Builder { git, memory: &memory, objects: Vec::new() };
    let mut leaves = files
        .iter()
        .zip(contents)
        .map(|(file, content)| Ok((file.path.as_str(), builder.write(ObjectType::Blob, content)?)))
        .collect::<Result<Vec<_>>>()?;
    leaves.sort_unstable();
    let entries = leaves.iter().map(|(path, oid)| ((*path).to_owned(), *oid)).collect();
    let tree = builder.tree(root, &leaves)?;
    let commit = builder.commit(parents, tree, message, who)?;
    let objects = builder.objects;
    Ok(Batch { memory, objects, commit, tree, entries })
}

impl Batch {
    /// Returns the bytes of a new object.
    pub fn content(&self, oid: Oid) -> Result<Vec<u8>> {
        let doing = || "read a new object".to_owned();
        let odb = self.memory.odb().doing(doing)?;
        Ok(odb.read(oid).doing(doing)?.data().to_vec())
    }

    /// Puts another commit, such as a signed one, in the place of the one that was built.
    pub fn replace_commit(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.memory.odb().and_then(|odb| odb.write(ObjectType::Commit, bytes));
        let commit = written.doing(|| "take over a signed commit".into())?;
        self.objects.retain(|(oid, _)| *oid != self.commit);
        self.objects.push((commit, ObjectType::Commit));
        self.commit = commit;
        Ok(())
    }
}

struct Builder<'a> {
    git: &'a Repository,
    memory: &'a Repository,
    objects: Vec<(Oid, ObjectType)>,
}

impl Builder<'_> {
    fn write(&mut self, kind: ObjectType, data: &[u8]) -> Result<Oid> {
        let oid = self.memory.odb().and_then(|odb| odb.write(kind, data)).doing(|| "build an object".into())?;
        self.objects.push((oid, kind));
        Ok(oid)
    }

    /// Returns `base` with `leaves` added; they are sorted by path.
    ///
    /// libgit2's tree builder refuses names such as `.git` and `..`. A tree of a stranger may have them, and they must not keep
    /// anybody from recording beside them: what is there already stays as it is.
    fn tree(&mut self, base: Option<Oid>, leaves: &[(&str, Oid)]) -> Result<Oid> {
        let doing = || "build a tree".to_owned();
        let empty = object_id(self.git, ObjectType::Tree, b"");
        let old = base.filter(|oid| *oid != empty).map(|oid| self.git.find_tree(oid)).transpose().doing(doing)?;
        let mut new = Entries::default();
        for entry in old.iter().flat_map(git2::Tree::iter) {
            new.keep(entry.name_bytes(), entry.filemode_raw(), entry.id());
        }
        let directory = |path: &str| path.split_once('/').map(|(directory, _)| directory.to_owned());
        for group in leaves.chunk_by(|a, b| directory(a.0).is_some() && directory(a.0) == directory(b.0)) {
            let Some(name) = directory(group[0].0) else {
                new.put(group[0].0, BLOB_MODE, group[0].1);
                continue;
            };
            let below = old.as_ref().and_then(|old| old.get_name(&name)).filter(|e| e.kind() == Some(ObjectType::Tree));
            let rest: Vec<_> = group.iter().map(|(path, oid)| (&path[name.len() + 1..], *oid)).collect();
            let child = self.tree(below.map(|entry| entry.id()), &rest)?;
            new.put(&name, TREE_MODE, child);
        }
        self.write(ObjectType::Tree, &new.bytes())
    }

    fn commit(&mut self, parents: &[Oid], tree: Oid, message: &str, who: &Identity) -> Result<Oid> {
        let doing = || "build a commit".to_owned();
        let odb = self.memory.odb().doing(doing)?;
        for parent in parents {
            // The parent's bytes, so that libgit2 can name it; it is not new and is not written.
            let copied = self.git.odb().and_then(|disk| odb.write(ObjectType::Commit, disk.read(*parent)?.data()));
            copied.doing(doing)?;
        }
        let found = parents.iter().map(|parent| self.memory.find_commit(*parent));
        let found = found.collect::<std::result::Result<Vec<_>, _>>().doing(doing)?;
        let parents: Vec<_> = found.iter().collect();
        let tree = self.memory.find_tree(tree).doing(doing)?;
        let signature = Signature::now(&who.name, &who.email).doing(doing)?;
        let text = self.memory.commit_create_buffer(&signature, &signature, message, &tree, &parents).doing(doing)?;
        self.write(ObjectType::Commit, &text)
    }
}

/// The entries of a tree, in git's order: a directory sorts as if its name ended with a slash.
#[derive(Default)]
struct Entries(BTreeMap<Vec<u8>, (Vec<u8>, i32, Oid)>);

impl Entries {
    fn key(name: &[u8], mode: i32) -> Vec<u8> {
        let slash: &[u8] = if mode == TREE_MODE { b"/" } else { b"" };
        [name, slash].concat()
    }

    /// Takes an entry over; of several with one name, the first.
    fn keep(&mut self, name: &[u8], mode: i32, oid: Oid) {
        self.0.entry(Self::key(name, mode)).or_insert_with(|| (name.to_owned(), mode, oid));
    }

    /// Adds an entry in the place of any that has its name.
    fn put(&mut self, name: &str, mode: i32, oid: Oid) {
        let name = name.as_bytes();
        for mode in [BLOB_MODE, TREE_MODE] {
            self.0.remove(&Self::key(name, mode));
        }
        self.0.insert(Self::key(name, mode), (name.to_owned(), mode, oid));
    }

    /// Returns the tree object: `mode SP name NUL oid` for each (git's tree.c).
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, mode, oid) in self.0.values() {
            bytes.extend_from_slice(format!("{mode:o} ").as_bytes());
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend_from_slice(oid.as_bytes());
        }
        bytes
    }
}

/// Where objects go.
pub(super) struct Place<'a> {
    git: &'a Repository,
    objects: PathBuf,
    /// On the file system of `objects`, which may be a link to another disk.
    scratch: PathBuf,
}

/// Where temporary objects go when `objects` is a link to another file system.
pub(super) fn other_disk(git: &Repository) -> PathBuf {
    git.commondir().join("objects").join("elf-tmp")
}

/// A file that is ready to be renamed into place.
struct Ready {
    file: Prepared,
    target: PathBuf,
}

impl Ready {
    /// Renames the file into place. `git gc` may remove a directory at any time that is empty, so it is created again then.
    fn place(&mut self) -> io::Result<()> {
        let dir = self.target.parent().expect("objects have a directory");
        for _ in 1..PLACE_ATTEMPTS {
            match self.file.rename_to(&self.target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => return done,
            }
            sys::create_one_dir(dir)?;
        }
        self.file.rename_to(&self.target)
    }
}

impl<'a> Place<'a> {
    pub fn new(git: &'a Repository, scratch: &Path) -> Result<Self> {
        let objects = git.commondir().join("objects");
        sys::create_own_dir(scratch).doing(|| format!("create {}", scratch.display()))?;
        let device = |path: &Path| sys::links(&path.canonicalize().ok()?).map(|(device, _)| device);
        let scratch = if device(&objects) == device(scratch) { scratch.to_owned() } else { other_disk(git) };
        sys::create_own_dir(&scratch).doing(|| format!("create {}", scratch.display()))?;
        Ok(Self { git, objects, scratch })
    }

    /// Writes, flushes and places all objects of a batch, and flushes `value` with them.
    pub fn write(&self, batch: &Batch, value: &Prepared, flush: Flush) -> Result<()> {
        let doing = || "write objects".to_owned();
        let mut existing = Vec::new();
        let mut ready =
            if batch.objects.len() > LOOSE_MAX { self.pack(batch)? } else { self.loose(batch, &mut existing)? };
        fault!("objects-written");
        // `value` comes last: in batch mode its fsync is the one that commits the journal for all.
        let files: Vec<&File> =
            existing.iter().chain(ready.iter().map(|ready| ready.file.file())).chain([value.file()]).collect();
        sys::flush_all(&files, flush).doing(|| "make objects durable".into())?;
        fault!("objects-flushed");
        for object in &mut ready {
            object.place().doing(doing)?;
            fault!("object-renamed");
        }
        // Empty by now; without a pack there is none.
        let _ = fs::remove_dir(self.pack_dir());
        if flush == Flush::Each {
            let mut dirs: Vec<_> = ready.iter().filter_map(|ready| ready.target.parent()).collect();
            dirs.sort_unstable();
            dirs.dedup();
            for object in &ready {
                sys::sync_file(object.file.file()).doing(doing)?;
            }
            dirs.into_iter().chain([self.objects.as_path()]).try_for_each(sys::sync_dir).doing(doing)?;
        }
        Ok(())
    }

    /// Tells whether everything of a batch that was placed is there still: no ref names it yet, so anybody may remove it.
    pub fn has_all(&self, git: &Repository, batch: &Batch) -> bool {
        let is_packed = |oid: Oid| git.odb().is_ok_and(|odb| odb.exists(oid));
        let is_there = |oid: Oid| fs::symlink_metadata(self.loose_path(oid)).is_ok() || is_packed(oid);
        // More than these are in a pack, and git removes none that it did not see when it began.
        batch.objects.len() > LOOSE_MAX || batch.objects.iter().all(|(oid, _)| is_there(*oid))
    }

    fn loose(&self, batch: &Batch, existing: &mut Vec<File>) -> Result<Vec<Ready>> {
        let doing = || "write objects".to_owned();
        let odb = batch.memory.odb().doing(doing)?;
        let mut ready = Vec::new();
        for (oid, kind) in &batch.objects {
            let target = self.loose_path(*oid);
            let object = odb.read(*oid).doing(doing)?;
            if is_sound(&target, *kind, object.data()) {
                match File::open(&target) {
                    Ok(file) => {
                        existing.push(file);
                        continue;
                    }
                    // `git gc` has put it into a pack meanwhile; one more copy does no harm.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error).doing(doing),
                }
            }
            ready.push(Ready { file: self.prepare(*kind, object.data())?, target });
        }
        Ok(ready)
    }

    fn prepare(&self, kind: ObjectType, data: &[u8]) -> Result<Prepared> {
        let bytes = loose_bytes(kind, data);
        bytes
            .and_then(|bytes| sys::prepare(&self.scratch, "object-", &bytes, OBJECT_MODE))
            .doing(|| "write objects".into())
    }

    /// Writes one blob loose and durable, whatever stands under its name.
    pub fn restore(&self, data: &[u8], flush: Flush) -> Result<()> {
        let doing = || "write an object again".to_owned();
        let oid = object_id(self.git, ObjectType::Blob, data);
        let mut file = self.prepare(ObjectType::Blob, data)?;
        sys::sync_file(file.file()).doing(doing)?;
        let target = self.loose_path(oid);
        let dir = target.parent().expect("objects have a directory");
        sys::create_dir(dir).doing(doing)?;
        file.rename_to(&target).doing(doing)?;
        sys::sync_file(file.file()).doing(doing)?;
        if flush == Flush::Each { sys::sync_dir(dir).doing(doing) } else { Ok(()) }
    }

    fn loose_path(&self, oid: Oid) -> PathBuf {
        let name = oid.to_string();
        self.objects.join(&name[..2]).join(&name[2..])
    }

    fn pack_dir(&self) -> PathBuf {
        self.scratch.join(format!("pack-{}", std::process::id()))
    }

    fn pack(&self, batch: &Batch) -> Result<Vec<Ready>> {
        let doing = || "write a pack".to_owned();
        let dir = self.pack_dir();
        sys::create_dir(&dir).doing(doing)?;
        let mut pack = batch.memory.packbuilder().doing(doing)?;
        for (oid, _) in &batch.objects {
            pack.insert_object(*oid, None).doing(doing)?;
        }
        pack.write(&dir, OBJECT_MODE).doing(doing)?;
        let mut names: Vec<_> = fs::read_dir(&dir).and_then(Iterator::collect::<io::Result<Vec<_>>>).doing(doing)?;
        // libgit2 leaves its own temporary files when it cannot remove them.
        names.retain(|entry| {
            let path = entry.path();
            path.extension().is_some_and(|extension| extension == "pack" || extension == "idx")
        });
        // The pack goes before its index: an index without its pack would be an error to git.
        names.sort_by_key(|entry| entry.path().extension().is_some_and(|extension| extension == "idx"));
        let ready = names.into_iter().map(|entry| {
            let target = self.objects.join("pack").join(entry.file_name());
            Ok(Ready { file: Prepared::adopt(entry.path())?, target })
        });
        let mut ready = ready.collect::<io::Result<Vec<_>>>().doing(doing)?;
        // A torn loose object beside the pack would still stop git gc.
        let odb = batch.memory.odb().doing(doing)?;
        for (oid, kind) in &batch.objects {
            let target = self.loose_path(*oid);
            if fs::symlink_metadata(&target).is_ok() {
                let object = odb.read(*oid).doing(doing)?;
                if !is_sound(&target, *kind, object.data()) {
                    ready.push(Ready { file: self.prepare(*kind, object.data())?, target });
                }
            }
        }
        Ok(ready)
    }
}

/// Tells whether a loose object is there and holds this.
///
/// libgit2 is not asked: it would answer from a pack while the loose file is torn, and it never returns from a loose object
/// that lacks its end.
fn is_sound(path: &Path, kind: ObjectType, data: &[u8]) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let mut expected = format!("{kind} {}\0", data.len()).into_bytes();
    expected.extend_from_slice(data);
    let limit = u64::try_from(expected.len()).map_or(u64::MAX, |length| length + 1);
    let mut found = Vec::with_capacity(expected.len() + 1);
    let read = ZlibDecoder::new(BufReader::new(file)).take(limit).read_to_end(&mut found);
    read.is_ok() && found == expected
}

/// Encodes a loose object: zlib over `kind SP size NUL data` (gitformat-loose(5)); git's default level for them is 1.
pub(super) fn loose_bytes(kind: ObjectType, data: &[u8]) -> io::Result<Vec<u8>> {
    let mut zlib = ZlibEncoder::new(Vec::with_capacity(data.len() / 2 + 64), Compression::fast());
    write!(zlib, "{kind} {}\0", data.len())?;
    zlib.write_all(data)?;
    zlib.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn an_object_gets_into_place_while_gc_removes_empty_directories() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("ab");
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let _ = fs::remove_dir(&dir);
                    std::thread::sleep(std::time::Duration::from_micros(50));
                }
            });
            let failed = (0..2_000).find_map(|i| {
                let file = sys::prepare(root.path(), "object-", b"x", OBJECT_MODE).unwrap();
                let target = dir.join(i.to_string());
                let placed = Ready { file, target: target.clone() }.place().and_then(|()| fs::remove_file(&target));
                placed.err().map(|error| (i, error))
            });
            over.store(true, Ordering::Relaxed);
            assert!(failed.is_none(), "{failed:?}");
        });
    }
}
