//! A disk whose power can fail.
//!
//! The storage code runs on real files and real system calls; beside them stands a picture of what
//! is durable: for each file its synced bytes and the changes since, for each directory its synced
//! names and the changes since. A power cut picks a state that these allow, and makes the real
//! directory look like it.
//!
//! What a file system may do here: lose or tear any write that was not synced, whatever the order;
//! keep a length without its bytes (zeros); lose new names, renames and removals. What it may not:
//! reorder the changes of names of one directory, or let a write overtake a change of length of its
//! file. Both go through the journal of every file system that we know.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use ottla_storage::{Disk, DiskCall, DiskChange, DiskFaults, DiskVerdict};

use crate::chance::Chance;
use crate::totals::Totals;

/// A file, by its inode; a directory, by a number of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(u64),
    Directory(u64),
}

#[derive(Debug, Clone)]
enum Change {
    Write { position: u64, bytes: Vec<u8> },
    Length(u64),
}

#[derive(Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// How many of `pending` a failed sync left in doubt: no later sync vouches for them.
    n_doubtful: usize,
}

#[derive(Debug, Clone)]
enum Naming {
    Create(OsString, Node),
    Rename(OsString, OsString),
    Remove(OsString),
}

type Names = BTreeMap<OsString, Node>;

#[derive(Debug, Default)]
struct Folder {
    durable: Names,
    now: Names,
    pending: Vec<Naming>,
}

/// Troubles under way.
#[derive(Debug, Default)]
struct Troubles {
    /// After so many more changes nothing works any more: the process is being killed.
    dies_in: Option<u64>,
    is_dead: bool,
    /// Chance, in percent, that what takes room is refused.
    full_percent: u64,
    /// After so many more calls one fails.
    fails_in: Option<u64>,
    /// After so many more syncs one fails.
    sync_fails_in: Option<u64>,
    /// Writes take at most so many bytes at once.
    short: Option<usize>,
}

struct State {
    root: PathBuf,
    folders: HashMap<u64, Folder>,
    inodes: HashMap<u64, Inode>,
    n_folders: u64,
    /// How many names were asked for.
    n_unique: u128,
    troubles: Troubles,
    chance: Chance,
    totals: Totals,
}

/// How much of what was not synced a power cut takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    LosesAll,
    KeepsAll,
    Mixed,
}

pub(crate) struct SimulatedDisk(Mutex<State>);

const ROOT: u64 = 0;

impl SimulatedDisk {
    pub(crate) fn new(root: &Path, chance: Chance) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            root: root.to_owned(),
            folders: HashMap::from([(ROOT, Folder::default())]),
            inodes: HashMap::new(),
            n_folders: 1,
            n_unique: 0,
            troubles: Troubles::default(),
            chance,
            totals: Totals::default(),
        })))
    }

    pub(crate) fn disk(self: &Arc<Self>) -> Disk {
        Disk::breakable(Arc::clone(self) as Arc<dyn DiskFaults>)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with the disk")
    }

    /// From the `n`th change on nothing works.
    pub(crate) fn die_in(&self, n: u64) {
        self.state().troubles.dies_in = Some(n);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().troubles.is_dead
    }

    /// A sync has failed, and nobody knows what is on the disk.
    pub(crate) fn is_in_doubt(&self) -> bool {
        let state = self.state();
        state.inodes.values().any(|inode| inode.n_doubtful > 0)
    }

    pub(crate) fn fill_up(&self, percent: u64) {
        self.state().troubles.full_percent = percent;
    }

    pub(crate) fn fail_in(&self, n: u64) {
        self.state().troubles.fails_in = Some(n);
    }

    pub(crate) fn fail_sync_in(&self, n: u64) {
        self.state().troubles.sync_fails_in = Some(n);
    }

    pub(crate) fn write_short(&self, n: usize) {
        self.state().troubles.short = Some(n);
    }

    /// Everything works again.
    pub(crate) fn heal(&self) {
        self.state().troubles = Troubles::default();
    }

    /// A bit of a file turns over, on the disk itself.
    pub(crate) fn flip(&self, path: &Path, position: usize, bit: u8) {
        let mut bytes = fs::read(path).expect("the file is there");
        bytes[position] ^= 1 << bit;
        self.change(path, bytes);
    }

    /// Something else writes a file while nobody runs.
    pub(crate) fn change(&self, path: &Path, bytes: Vec<u8>) {
        fs::write(path, &bytes).expect("the file can be written");
        let id = fs::metadata(path).expect("the file is there").ino();
        let mut state = self.state();
        let inode = state.inodes.get_mut(&id).expect("the file is known");
        inode.durable = bytes;
    }

    pub(crate) fn take_totals(&self) -> Totals {
        std::mem::take(&mut self.state().totals)
    }

    /// The power fails. All files must be closed.
    pub(crate) fn cut_power(&self) {
        let mut state = self.state();
        state.troubles = Troubles::default();
        let mood = match state.chance.below(10) {
            0..2 => Mood::LosesAll,
            2..4 => Mood::KeepsAll,
            _ => Mood::Mixed,
        };
        state.totals.power_cuts += 1;
        state.settle_folder(ROOT, mood);
        state.write_back();
    }
}

impl State {
    fn folder(&mut self, id: u64) -> &mut Folder {
        self.folders.get_mut(&id).expect("the directory is known")
    }

    /// The folder and the name of a path below the root.
    fn place(&self, path: &Path) -> Option<(u64, OsString)> {
        let relative = path.strip_prefix(&self.root).ok()?;
        let name = relative.file_name()?.to_owned();
        let folder = self.folder_at(relative.parent().unwrap_or(Path::new("")))?;
        Some((folder, name))
    }

    fn folder_at(&self, relative: &Path) -> Option<u64> {
        let mut at = ROOT;
        for part in relative.components() {
            let Component::Normal(name) = part else {
                continue;
            };
            match self.folders.get(&at)?.now.get(name)? {
                Node::Directory(id) => at = *id,
                Node::File(_) => return None,
            }
        }
        Some(at)
    }

    fn name(&mut self, folder: u64, naming: Naming) {
        let folder = self.folder(folder);
        apply_naming(&mut folder.now, &naming);
        folder.pending.push(naming);
    }

    fn opened(&mut self, path: &Path, file: &File) {
        let Some((folder, name)) = self.place(path) else {
            return;
        };
        if !self.folder(folder).now.contains_key(&name) {
            let inode = inode_of(file);
            self.inodes.insert(inode, Inode::default());
            self.name(folder, Naming::Create(name, Node::File(inode)));
        }
    }

    fn made_directory(&mut self, path: &Path) {
        let Some((folder, name)) = self.place(path) else {
            return;
        };
        if !self.folder(folder).now.contains_key(&name) {
            let id = self.n_folders;
            self.n_folders += 1;
            self.folders.insert(id, Folder::default());
            self.name(folder, Naming::Create(name, Node::Directory(id)));
        }
    }

    fn renamed(&mut self, source: &Path, target: &Path) {
        let (Some((folder, source)), Some((other, target))) =
            (self.place(source), self.place(target))
        else {
            return;
        };
        assert_eq!(folder, other, "files are renamed within a directory");
        self.name(folder, Naming::Rename(source, target));
    }

    fn removed(&mut self, path: &Path) {
        if let Some((folder, name)) = self.place(path) {
            self.name(folder, Naming::Remove(name));
        }
    }

    fn changed(&mut self, file: &File, change: Change) {
        if let Some(inode) = self.inodes.get_mut(&inode_of(file)) {
            inode.pending.push(change);
        }
    }

    fn synced(&mut self, file: &File) {
        self.totals.syncs += 1;
        let Some(inode) = self.inodes.get_mut(&inode_of(file)) else {
            return;
        };
        if inode.n_doubtful > 0 {
            // The kernel calls them clean; whether they are on the disk the power cut will show.
            inode.n_doubtful = inode.pending.len();
            return;
        }
        for change in std::mem::take(&mut inode.pending) {
            apply_change(&mut inode.durable, &change);
        }
    }

    fn sync_failed(&mut self, file: &File) {
        if self.troubles.is_dead {
            return;
        }
        if let Some(inode) = self.inodes.get_mut(&inode_of(file)) {
            inode.n_doubtful = inode.pending.len();
        }
    }

    fn directory_synced(&mut self, path: &Path) {
        self.totals.directory_syncs += 1;
        let Ok(relative) = path.strip_prefix(&self.root) else {
            return;
        };
        let Some(id) = self.folder_at(relative) else {
            return;
        };
        let folder = self.folder(id);
        folder.pending.clear();
        folder.durable = folder.now.clone();
    }

    /// Decides what is left of a directory, and of all that is in it.
    fn settle_folder(&mut self, id: u64, mood: Mood) {
        let mut folder = self.folders.remove(&id).expect("the directory is known");
        let n_kept = match mood {
            Mood::LosesAll => 0,
            Mood::KeepsAll => folder.pending.len(),
            Mood::Mixed => self.chance.index(folder.pending.len() + 1),
        };
        self.totals.names_lost += (folder.pending.len() - n_kept) as u64;
        for naming in folder.pending.drain(..).take(n_kept) {
            apply_naming(&mut folder.durable, &naming);
        }
        folder.now = folder.durable.clone();
        let nodes: Vec<Node> = folder.now.values().copied().collect();
        self.folders.insert(id, folder);
        for node in nodes {
            match node {
                Node::Directory(id) => self.settle_folder(id, mood),
                Node::File(inode) => self.settle_file(inode, mood),
            }
        }
    }

    fn settle_file(&mut self, id: u64, mood: Mood) {
        let inode = self.inodes.get_mut(&id).expect("the file is known");
        let pending = std::mem::take(&mut inode.pending);
        inode.n_doubtful = 0;
        if pending.is_empty() {
            return;
        }
        let (chance, totals) = (&mut self.chance, &mut self.totals);
        match mood {
            Mood::LosesAll => totals.writes_lost += pending.len() as u64,
            Mood::KeepsAll => {
                for change in &pending {
                    apply_change(&mut inode.durable, change);
                }
            }
            Mood::Mixed => settle(&mut inode.durable, &pending, chance, totals),
        }
    }

    /// Makes the real directory what the picture says.
    fn write_back(&mut self) {
        let mut inodes = HashMap::new();
        let root = self.root.clone();
        for entry in fs::read_dir(&root).expect("the root is there") {
            let entry = entry.expect("the root can be read");
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let path = entry.path();
            let removed = if is_directory {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            };
            removed.expect("what is below the root can be removed");
        }
        self.write_folder(ROOT, &root, &mut inodes);
        self.inodes = inodes;
        let live: BTreeSet<u64> = self
            .folders
            .values()
            .flat_map(|folder| folder.now.values())
            .filter_map(|node| match node {
                Node::Directory(id) => Some(*id),
                Node::File(_) => None,
            })
            .chain([ROOT])
            .collect();
        self.folders.retain(|id, _| live.contains(id));
    }

    fn write_folder(&mut self, id: u64, path: &Path, inodes: &mut HashMap<u64, Inode>) {
        let mut names = std::mem::take(&mut self.folder(id).now);
        for (name, node) in &mut names {
            let path = path.join(name);
            match node {
                Node::Directory(id) => {
                    fs::create_dir(&path).expect("a directory can be made");
                    self.write_folder(*id, &path, inodes);
                }
                Node::File(inode) => {
                    let content = self.inodes.remove(inode).expect("a file has one name");
                    fs::write(&path, &content.durable).expect("a file can be written");
                    *inode = fs::metadata(&path).expect("it was written").ino();
                    inodes.insert(*inode, content);
                }
            }
        }
        let folder = self.folder(id);
        folder.durable = names.clone();
        folder.now = names;
    }

    fn verdict(&mut self, call: DiskCall, n_bytes: usize) -> DiskVerdict {
        let is_change = !matches!(
            call,
            DiskCall::Open | DiskCall::Read | DiskCall::ReadInMemory | DiskCall::List
        );
        let troubles = &mut self.troubles;
        if troubles.is_dead {
            return DiskVerdict::Fail(io::ErrorKind::Other);
        }
        if is_change && let Some(n) = &mut troubles.dies_in {
            if *n == 0 {
                troubles.is_dead = true;
                self.totals.died_in_a_call += 1;
                if call == DiskCall::Write {
                    return DiskVerdict::Short(self.chance.index(n_bytes));
                }
                return DiskVerdict::Fail(io::ErrorKind::Other);
            }
            *n -= 1;
        }
        if let Some(n) = &mut troubles.fails_in {
            if *n == 0 {
                troubles.fails_in = None;
                self.totals.errors += 1;
                return DiskVerdict::Fail(io::ErrorKind::Other);
            }
            *n -= 1;
        }
        if call == DiskCall::Sync
            && let Some(n) = &mut troubles.sync_fails_in
        {
            if *n == 0 {
                troubles.sync_fails_in = None;
                self.totals.failed_syncs += 1;
                return DiskVerdict::Fail(io::ErrorKind::Other);
            }
            *n -= 1;
        }
        if matches!(call, DiskCall::Write | DiskCall::Create)
            && troubles.full_percent > 0
            && self.chance.percent(troubles.full_percent)
        {
            self.totals.full_disk += 1;
            return DiskVerdict::Fail(io::ErrorKind::StorageFull);
        }
        match troubles.short {
            Some(n) if call == DiskCall::Write && n < n_bytes => {
                self.totals.short_writes += 1;
                DiskVerdict::Short(n)
            }
            _ => DiskVerdict::Proceed,
        }
    }
}

impl DiskFaults for SimulatedDisk {
    /// Files are looked at in the order of their names, and a seed must find the same ones each time.
    fn unique(&self) -> Option<u128> {
        let mut state = self.state();
        state.n_unique += 1;
        Some(state.n_unique)
    }

    fn before(&self, call: DiskCall, _path: &Path, n_bytes: usize) -> DiskVerdict {
        self.state().verdict(call, n_bytes)
    }

    fn after(&self, change: DiskChange<'_>) {
        let mut state = self.state();
        match change {
            DiskChange::Opened { path, file } => state.opened(path, file),
            DiskChange::Wrote {
                file,
                position,
                bytes,
            } => {
                let bytes = bytes.to_vec();
                state.changed(file, Change::Write { position, bytes });
            }
            DiskChange::LengthSet { file, length } => state.changed(file, Change::Length(length)),
            DiskChange::Synced { file } => state.synced(file),
            DiskChange::SyncFailed { file } => state.sync_failed(file),
            DiskChange::DirectorySynced { path } => state.directory_synced(path),
            DiskChange::Renamed { source, target } => state.renamed(source, target),
            DiskChange::Removed { path } => state.removed(path),
            DiskChange::DirectoryMade { path } => state.made_directory(path),
        }
    }
}

fn inode_of(file: &File) -> u64 {
    file.metadata().expect("an open file has metadata").ino()
}

fn apply_naming(names: &mut Names, naming: &Naming) {
    match naming {
        Naming::Create(name, node) => {
            names.insert(name.clone(), *node);
        }
        Naming::Rename(source, target) => {
            if let Some(node) = names.remove(source) {
                names.insert(target.clone(), node);
            }
        }
        Naming::Remove(name) => {
            names.remove(name);
        }
    }
}

fn apply_change(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(length) => bytes.resize(*length as usize, 0),
        Change::Write {
            position,
            bytes: new,
        } => overwrite(bytes, *position as usize, new),
    }
}

fn overwrite(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    if new.is_empty() {
        return;
    }
    if bytes.len() < at + new.len() {
        bytes.resize(at + new.len(), 0);
    }
    bytes[at..at + new.len()].copy_from_slice(new);
}

/// Some of the changes: the lengths up to some point, and of the writes any, whole or torn.
fn settle(bytes: &mut Vec<u8>, pending: &[Change], chance: &mut Chance, totals: &mut Totals) {
    let n_kept = chance.index(pending.len() + 1);
    let is_in_order = chance.percent(50);
    totals.writes_lost += (pending.len() - n_kept) as u64;
    let mut any_lost = false;
    for (at, change) in pending.iter().take(n_kept).enumerate() {
        let Change::Write {
            position,
            bytes: new,
        } = change
        else {
            apply_change(bytes, change);
            continue;
        };
        let is_last = at + 1 == n_kept;
        let position = *position as usize;
        match chance.below(9) {
            0..2 if !is_in_order => {
                totals.writes_lost += 1;
                any_lost = true;
            }
            2 | 3 if !is_in_order || is_last => {
                totals.torn_writes += 1;
                overwrite(bytes, position, &new[..chance.index(new.len() + 1)]);
            }
            4 if !is_in_order => {
                // The rear came through, the front did not.
                totals.torn_writes += 1;
                let from = chance.index(new.len() + 1);
                overwrite(bytes, position + from, &new[from..]);
            }
            5 if !is_in_order || is_last => {
                // The length came through, the bytes did not.
                totals.zeroed_writes += 1;
                let end = position + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
            }
            _ => {
                totals.reordered_writes += u64::from(any_lost);
                overwrite(bytes, position, new);
            }
        }
    }
}
