//! Who makes a change, which the store keeps.

use clap::Args;

/// The flag of all commands that change a store. A command whose help says more overrides it with `mut_arg`.
#[derive(Debug, Clone, Args)]
pub(super) struct Author {
    /// Who does it [default: you]
    #[arg(
        long,
        value_name = "NAME",
        env = "USER",
        default_value = "proffer",
        hide_env = true,
        hide_default_value = true
    )]
    pub(super) author: String,
}
