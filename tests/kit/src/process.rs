//! The built program as a process.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use crate::config::repository;

/// A command of the program at `binary`, in the root of the repository and without
/// settings from the environment.
pub fn zeef_command(binary: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(repository()).args(arguments);
    for name in ["RUST_LOG", "COLUMNS", "ZEEF_CONFIG", "ZEEF_BROKERS"] {
        command.env_remove(name);
    }
    command
}

/// An admin address whose port the system picks, so that no two processes want the same one.
pub const ANY_ADMIN_ADDRESS: &str = "127.0.0.1:0";

/// The admin address that `log` of a `zeef run` names, `None` before it listens.
pub fn admin_address_in(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("metrics and health address=")?;
    let (address, _) = rest.split_once(char::is_whitespace)?;
    Some(address.parse().expect("an address"))
}

/// Runs a command that reads `input`.
pub fn run_with_stdin(command: &mut Command, input: &[u8]) -> CommandOutput {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("zeef runs");
    let mut stdin = child.stdin.take().expect("stdin");
    // A command that refuses its arguments reads nothing.
    let _ = stdin.write_all(input);
    drop(stdin);
    CommandOutput::new(child.wait_with_output().expect("zeef ends"))
}

/// How a command ended, and what it wrote.
pub struct CommandOutput {
    pub exit_code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl CommandOutput {
    pub fn new(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        CommandOutput {
            exit_code: output.status.code().expect("an exit code"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        CommandOutput::new(command.output().expect("zeef runs"))
    }

    /// Checks the exit code, and that each of `want` was written.
    #[track_caller]
    pub fn check(&self, code: i32, want: &[&str]) {
        let all = format!("{}{}", self.stdout, self.stderr);
        assert_eq!(self.exit_code, code, "{all}");
        for want in want {
            assert!(all.contains(want), "no {want:?} in:\n{all}");
        }
    }
}

/// A process that ends with its test.
pub struct KillOnDrop(pub Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
