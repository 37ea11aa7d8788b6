//! A real node for a test: the built binary on free ports and a directory of its own.
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for another process"
)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of the harness"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a node may take for anything a test waits for, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Node {
    child: Option<Child>,
    pub directory: tempfile::TempDir,
    pub port: u16,
    pub controller_port: u16,
    pub http_port: u16,
    settings: Vec<String>,
    n_files_max: Option<u32>,
}

/// The binary under test, with nothing of the caller's environment that could be a setting.
pub fn ottla() -> Command {
    without_settings(Command::new(env!("CARGO_BIN_EXE_ottla")))
}

fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars() {
        if name.starts_with("KAFKA_") || name == "CLUSTER_ID" {
            command.env_remove(name);
        }
    }
    command
}

/// A port that nobody listens on now, below those from which the system takes the ports of outgoing
/// connections, of which some tests have thousands.
pub fn free_port() -> u16 {
    const FROM: u32 = 10_000;
    const N_PORTS: u32 = 10_000;
    static N_TAKEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(37);
    (0..N_PORTS)
        .map(|_| N_TAKEN.fetch_add(1, Ordering::Relaxed))
        .map(|n| FROM + begin.wrapping_add(n) % N_PORTS)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
        .expect("a free port")
}

impl Node {
    /// Starts a node on fresh data and waits until it serves.
    pub fn start(settings: &[&str]) -> Self {
        let mut node = Self::prepared(settings);
        node.restart();
        node
    }

    /// A node that has not been started.
    pub fn prepared(settings: &[&str]) -> Self {
        Self {
            child: None,
            directory: tempfile::tempdir().expect("a temporary directory"),
            port: free_port(),
            controller_port: free_port(),
            http_port: free_port(),
            settings: settings
                .iter()
                .map(|setting| (*setting).to_owned())
                .collect(),
            n_files_max: None,
        }
    }

    /// May have so many files open from its next start on, connections included.
    pub fn limit_files(&mut self, n_max: u32) {
        self.n_files_max = Some(n_max);
    }

    /// Adds a setting over all others.
    pub fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// One of Apache's own scripts, asked of this node.
    pub fn kafkas_script(&self, name: &str) -> Command {
        let home = std::env::var("KAFKA_HOME").expect("KAFKA_HOME names a Kafka");
        let mut script = Command::new(format!("{home}/bin/{name}"));
        script.args(["--bootstrap-server", &self.bootstrap()]);
        script
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running node").id()
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("node.log")
    }

    pub fn command(&self) -> Command {
        let mut command = match self.n_files_max {
            None => ottla(),
            Some(n_max) => {
                let mut shell = Command::new("sh");
                let run = format!("ulimit -n {n_max}; exec \"$0\" \"$@\"");
                shell.args(["-c", &run, env!("CARGO_BIN_EXE_ottla")]);
                without_settings(shell)
            }
        };
        command.arg("server").current_dir(self.directory.path());
        for setting in self.overrides() {
            command.arg("--override").arg(setting);
        }
        command
    }

    fn overrides(&self) -> Vec<String> {
        let mut overrides = vec![
            format!(
                "listeners=PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}",
                self.port, self.controller_port
            ),
            format!(
                "controller.quorum.bootstrap.servers=127.0.0.1:{}",
                self.controller_port
            ),
            format!("log.dirs={}", self.data().display()),
            format!("ottla.http.listener=127.0.0.1:{}", self.http_port),
            "group.initial.rebalance.delay.ms=0".to_owned(),
        ];
        overrides.extend(self.settings.iter().cloned());
        overrides
    }

    /// Starts the node again on the same data and ports.
    pub fn restart(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log file");
        let child = self
            .command()
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        self.child = Some(child);
        self.wait_until("serves", || {
            self.http("/health/ready")
                .is_some_and(|page| page.starts_with("HTTP/1.1 200"))
        });
    }

    /// Waits for a condition, and shows the node's log if it never comes.
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(
                Instant::now() < deadline,
                "the node never {what}; its log:\n{}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The whole answer of the HTTP door.
    pub fn http(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http_port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        Some(page)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the node can be killed");
            child.wait().expect("the node ends");
        }
    }

    /// SIGTERM, and the exit status.
    pub fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a running node");
        let pid = child.id().to_string();
        let killed = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs");
        assert!(killed.success());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().expect("the node can be waited for") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the node does not stop; its log:\n{}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// A raw connection to the broker's listener.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the listener accepts");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        stream
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command to its end and gives its exit code, standard output and standard error.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("the command runs");
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                open.push(path)
            } else {
                found.push(path)
            }
        }
    }
    found.sort();
    found
}
