//! The binary `zeef`: all of it is in the library's room `cli`.

/// Serves librdkafka too, which allocates for each record in one thread and
/// frees in another: a sixth less processor time than with glibc's allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    zeef::cli::main()
}
