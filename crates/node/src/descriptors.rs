//! What the file descriptors of this process are for. Logs and connections share them, and each has
//! some that the other cannot take: a crowd of clients must not keep a log from rolling, and logs
//! without end must not keep clients out.

/// Of the limit, for all that is neither a log's nor a connection: sockets that listen, epoll,
/// checkpoints and directories while they are synced, and files of logs that are in use beyond
/// their share.
const OTHERS_PART: usize = 8;
const OTHERS_MIN: usize = 64;
const OTHERS_MAX: usize = 512;
/// What is kept free for connections that come all at once: the files that have to make room are
/// closed by and by.
const FREE_PART: usize = 8;
/// What logs keep however many connections there are: a part of what they have without any.
const KEPT_PART: usize = 8;
const KEPT_MIN: usize = 64;
/// Answers that may have as many files open as one may.
const ANSWERS_AT_ONCE: usize = 8;

/// How many of them there are, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    pub limit: usize,
    /// What logs and connections share.
    shared: usize,
    /// Files of logs are closed and opened again beyond this, those aside that are in use, and
    /// earlier where there are many connections.
    pub files: usize,
    /// Who connects beyond this waits until another connection closes.
    pub connections: usize,
}

impl Descriptors {
    /// Where the system sets no limit.
    pub const UNLIMITED: Self = Self {
        limit: usize::MAX,
        shared: usize::MAX,
        files: usize::MAX,
        connections: usize::MAX,
    };

    /// Shares out the limit of open files of this process. A file that is closed is opened again in
    /// microseconds, a client that waits is not served at all: so logs give way.
    pub fn share_out(limit: Option<u64>) -> Self {
        let Some(limit) = limit else {
            return Self::UNLIMITED;
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let others = (limit / OTHERS_PART).clamp(OTHERS_MIN, OTHERS_MAX);
        let shared = limit.saturating_sub(others);
        let files = shared / 4 * 3;
        let mut shares = Self {
            limit,
            shared,
            files,
            connections: 0,
        };
        shares.connections = shared - shares.kept();
        shares
    }

    fn kept(&self) -> usize {
        (self.files / KEPT_PART).max(KEPT_MIN.min(self.files))
    }

    /// Files of logs that may be open beside so many connections.
    pub fn files_beside(&self, n_connections: usize) -> usize {
        let taken = n_connections.saturating_add(self.shared / FREE_PART);
        let left = self.shared.saturating_sub(taken);
        left.clamp(self.kept(), self.files)
    }

    /// Files that one answer may keep open until it is sent: whoever reads thousands of partitions
    /// is given the rest with the next answers.
    pub fn files_of_answer(&self) -> usize {
        (self.files / ANSWERS_AT_ONCE).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_give_way_to_connections_and_keep_some() {
        let shares = Descriptors::share_out(Some(4096));
        assert_eq!((shares.files, shares.connections), (2688, 3248));
        let files = [0, 400, 1000, 2000, 3248].map(|n| shares.files_beside(n));
        assert_eq!(files, [2688, 2688, 2136, 1136, 336]);
        let shares = Descriptors::share_out(Some(20_000));
        assert_eq!((shares.files, shares.connections), (14_616, 17_661));
        assert_eq!(shares.files_beside(10_000), 7052);
    }

    #[test]
    fn together_they_never_take_more_than_there_is() {
        for limit in [0, 1, 64, 65, 100, 256, 1024, 65_536, 1 << 20, u64::MAX] {
            let shares = Descriptors::share_out(Some(limit));
            let left = usize::try_from(limit).unwrap().saturating_sub(OTHERS_MIN);
            for part in 0..=4 {
                let n_connections = shares.connections / 4 * part;
                let files = shares.files_beside(n_connections);
                assert!(
                    files <= left - n_connections,
                    "{limit}: {files} beside {n_connections}"
                );
            }
        }
        let unlimited = Descriptors::share_out(None);
        assert_eq!(unlimited, Descriptors::UNLIMITED);
        assert!(unlimited.files_beside(1 << 20) > 1 << 40);
    }
}
