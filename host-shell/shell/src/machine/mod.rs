//! The virtual machine: which image, which accelerator, which QEMU command line.

pub mod accelerator;
pub mod arguments;
pub mod image;
pub mod probe;
pub mod process;
pub mod qmp;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Which board QEMU emulates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Machine {
    /// A PC with PCI Express.
    #[default]
    Q35,
    /// The smallest board: virtio over MMIO, no PCI, no firmware tables.
    Microvm,
}

impl Machine {
    /// QEMU's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Q35 => "q35",
            Self::Microvm => "microvm",
        }
    }
}

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM if a probe shows that it works and has protection keys, else TCG.
    #[default]
    Auto,
    /// QEMU's translator: slow, but has every CPU feature.
    Tcg,
    /// The processor itself.
    Kvm,
}

impl Accel {
    /// QEMU's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }
}

/// Which mechanism the guest shall use to isolate extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum IsolationChoice {
    /// The guest decides.
    #[default]
    Auto,
    /// Protection keys for user pages.
    Pku,
    /// Protection keys for supervisor pages.
    Pks,
    /// None, as on a machine without keys: extensions load with `--isolation none` only.
    None,
}

/// The guest's network card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Net {
    /// QEMU's user-mode network: no privileges needed; reach the guest through `--publish`.
    #[default]
    User,
    /// A tap interface of the host.
    Tap(String),
    /// No card.
    None,
}

impl std::str::FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "user" => Ok(Self::User),
            None if text == "none" => Ok(Self::None),
            Some(("tap", interface)) if valid_interface(interface) => Ok(Self::Tap(interface.to_owned())),
            _ => Err("use `user`, `none` or `tap=INTERFACE`".into()),
        }
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User => formatter.write_str("user"),
            Self::Tap(interface) => write!(formatter, "tap={interface}"),
            Self::None => formatter.write_str("none"),
        }
    }
}

/// Linux's rule for interface names, without the comma that would end a QEMU option.
fn valid_interface(name: &str) -> bool {
    (1..16).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/,:=".contains(&byte))
}

/// A TCP port of the host that leads to one of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// On 127.0.0.1.
    pub host: u16,
    /// In the guest.
    pub guest: u16,
}

impl std::str::FromStr for Publish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ports = text.split_once(':').and_then(|(host, guest)| {
            Some(Self { host: host.parse().ok()?, guest: guest.parse().ok().filter(|&port| port != 0)? })
        });
        ports.ok_or_else(|| "use `HOST:GUEST`, two port numbers, for example `8080:80`".into())
    }
}

impl std::fmt::Display for Publish {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.host, self.guest)
    }
}

/// What `run` was asked for.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// Image to start: a file, or the name of one that the workspace can build (`count`)
    pub image: String,
    /// Name of the instance [default: the image's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Board to emulate
    #[arg(long, value_enum, default_value_t)]
    pub machine: Machine,
    /// What executes the guest
    #[arg(long, value_enum, default_value_t)]
    pub accel: Accel,
    /// Memory of the guest
    #[arg(long, default_value = "256M", value_parser = memory)]
    pub mem: String,
    /// Host folder that the guest sees at /host
    #[arg(long, value_name = "DIR")]
    pub share: Option<PathBuf>,
    /// Initial files for the guest, a cpio archive (newc)
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// Network: `user`, `tap=INTERFACE` or `none`
    #[arg(long, default_value_t, value_name = "KIND")]
    pub net: Net,
    /// Lead TCP port HOST of 127.0.0.1 to port GUEST
    #[arg(long, value_name = "HOST:GUEST")]
    pub publish: Vec<Publish>,
    /// How the guest isolates extensions
    #[arg(long, value_enum, default_value_t)]
    pub isolation_backend: IsolationChoice,
    /// Text to add to the guest's command line
    #[arg(long, value_name = "CMDLINE")]
    pub append: Option<String>,
    /// Exactly repeatable instruction counts (implies --accel tcg)
    #[arg(long)]
    pub icount: bool,
}

impl RunOptions {
    /// The options of `run IMAGE` with nothing else said.
    #[must_use]
    pub fn new(image: &str) -> Self {
        Self {
            image: image.to_owned(),
            name: None,
            machine: Machine::default(),
            accel: Accel::default(),
            mem: "256M".to_owned(),
            share: None,
            initrd: None,
            net: Net::default(),
            publish: Vec::new(),
            isolation_backend: IsolationChoice::default(),
            append: None,
            icount: false,
        }
    }
}

/// Memory sizes as QEMU writes them. The guest needs some 16 MiB; below that it could not say why it
/// failed.
fn memory(text: &str) -> Result<String, String> {
    let error = || "use a number with M or G, at least 16M, for example `256M`".to_owned();
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1_u64),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 1024),
        _ => return Err(error()),
    };
    let mebibytes = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
    match mebibytes {
        Some(16..=1_048_576) => Ok(text.to_uppercase()),
        _ => Err(error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        assert_eq!("user".parse(), Ok(Net::User));
        assert_eq!("tap=tap0".parse(), Ok(Net::Tap("tap0".into())));
        for bad in ["tap", "tap=", "tap=a,b", "bridge", "tap=aaaaaaaaaaaaaaaaa"] {
            assert!(bad.parse::<Net>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ports() {
        assert_eq!("8080:80".parse(), Ok(Publish { host: 8080, guest: 80 }));
        for bad in ["80", "a:1", "1:0", "70000:1", "1:2:3"] {
            assert!(bad.parse::<Publish>().is_err(), "{bad}");
        }
    }

    #[test]
    fn memory_sizes() {
        assert_eq!(memory("256m").unwrap(), "256M");
        assert_eq!(memory("2G").unwrap(), "2G");
        for bad in ["", "256", "15M", "G", "-1M", "99999999999999999999G", "1M,foo=bar"] {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }
}
