//! The command `proffer`; see `proffer help`.

fn main() -> std::process::ExitCode {
    proffer::cli::main()
}
