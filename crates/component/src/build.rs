//! What was built: the identity that `--version`, metrics and the API show.
//!
//! Compile-time facts only. Invariant: every field is set, so that labels and answers keep their
//! shape; what a build does not know is empty, as in Thanos.

/// Identity of the running binary.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Version of the workspace.
    pub version: &'static str,
    /// Commit, when the build was told.
    pub revision: &'static str,
    /// Branch, when the build was told.
    pub branch: &'static str,
    /// Who built, when the build was told.
    pub user: &'static str,
    /// When it was built, when the build was told.
    pub date: &'static str,
    /// The toolchain, shown where Thanos shows Go's version.
    pub toolchain: &'static str,
    /// Operating system, by Go's name.
    pub os: &'static str,
    /// Processor, by Go's name.
    pub arch: &'static str,
    /// Build tags.
    pub tags: &'static str,
}

const fn or_empty(value: Option<&'static str>) -> &'static str {
    match value {
        Some(value) => value,
        None => "",
    }
}

const fn go_arch() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}

/// The running binary.
pub const INFO: Info = Info {
    version: env!("CARGO_PKG_VERSION"),
    revision: or_empty(option_env!("ATHANOR_REVISION")),
    branch: or_empty(option_env!("ATHANOR_BRANCH")),
    user: or_empty(option_env!("ATHANOR_BUILD_USER")),
    date: or_empty(option_env!("ATHANOR_BUILD_DATE")),
    toolchain: concat!("rust", env!("CARGO_PKG_RUST_VERSION")),
    os: std::env::consts::OS,
    arch: go_arch(),
    tags: "athanor",
};

impl Info {
    /// The text of `--version`.
    pub fn text(&self, program: &str) -> String {
        format!(
            "{program}, version {} (branch: {}, revision: {})\n  build user:       {}\n  build date:       {}\n  \
             toolchain:        {}\n  platform:         {}/{}\n  tags:             {}\n",
            self.version,
            self.branch,
            self.revision,
            self.user,
            self.date,
            self.toolchain,
            self.os,
            self.arch,
            self.tags
        )
    }
}
