//! The binary `zeef`: all of it is in the library's room `cli`.

fn main() -> std::process::ExitCode {
    zeef::cli::main()
}
