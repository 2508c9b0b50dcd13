//! QEMU's command line.

use std::path::{Path, PathBuf};

use super::{Accel, IsolationChoice, Machine, Net, RunOptions};

/// Sockets and files that QEMU makes in the instance's folder.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The instance's folder.
    pub directory: PathBuf,
}

impl Paths {
    /// virtio-console.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.directory.join("console.sock")
    }

    /// Monitor.
    #[must_use]
    pub fn monitor(&self) -> PathBuf {
        self.directory.join("qmp.sock")
    }

    /// The guest's serial log.
    #[must_use]
    pub fn serial(&self) -> PathBuf {
        self.directory.join("serial.log")
    }

    /// What QEMU itself says.
    #[must_use]
    pub fn qemu_log(&self) -> PathBuf {
        self.directory.join("qemu.log")
    }
}

/// Everything after `qemu-system-x86_64`. `accel` is what to use for [`Accel::Auto`].
#[must_use]
pub fn arguments(options: &RunOptions, image: &Path, accel: Accel, paths: &Paths) -> Vec<String> {
    let mut line = Line(Vec::new());
    match options.machine {
        Machine::Q35 => line.add("-machine", "q35"),
        Machine::Microvm => {
            line.add("-machine", "microvm,acpi=off,pit=on,pic=off,rtc=on,isa-serial=on");
            // Guests speak virtio 1 only.
            line.add("-global", "virtio-mmio.force-legacy=false");
        }
    }
    line.add("-accel", accel.name());
    let cpu = if accel == Accel::Kvm { "host" } else { "max" };
    if options.icount {
        // What makes instruction counts repeat exactly from boot to boot.
        line.add("-cpu", &format!("{cpu},-rdrand,-rdseed"));
        line.add("-icount", "shift=0,sleep=off");
        line.add("-rtc", "base=2026-01-01T00:00:00,clock=vm");
        line.add("-seed", "1");
    } else {
        line.add("-cpu", cpu);
    }
    line.add("-m", &options.mem);
    for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
        line.0.push(flag.to_owned());
    }
    line.add("-display", "none");
    line.add("-kernel", &image.display().to_string());
    if let Some(initrd) = &options.initrd {
        line.add("-initrd", &initrd.display().to_string());
    }
    let command_line = command_line(options);
    if !command_line.is_empty() {
        line.add("-append", &command_line);
    }
    line.add("-chardev", &format!("file,id=serial,path={}", escaped(&paths.serial())));
    line.add("-serial", "chardev:serial");
    line.add("-qmp", &format!("unix:{},server=on,wait=off", escaped(&paths.monitor())));
    line.add("-device", "isa-debug-exit,iobase=0xf4,iosize=4");
    line.devices(options, paths);
    line.0
}

struct Line(Vec<String>);

impl Line {
    fn add(&mut self, option: &str, value: &str) {
        self.0.extend([option.to_owned(), value.to_owned()]);
    }

    fn device(&mut self, machine: Machine, kind: &str, properties: &str) {
        let value = match machine {
            Machine::Q35 => format!("virtio-{kind}-pci,disable-legacy=on{properties}"),
            Machine::Microvm => format!("virtio-{kind}-device{properties}"),
        };
        self.add("-device", &value);
    }

    fn devices(&mut self, options: &RunOptions, paths: &Paths) {
        let machine = options.machine;
        let console = escaped(&paths.console());
        self.add("-chardev", &format!("socket,id=overlay,path={console},server=on,wait=off"));
        self.device(machine, "serial", "");
        self.add("-device", "virtserialport,chardev=overlay,nr=1,name=uio.overlay");
        self.device(machine, "rng", "");
        if let Some(share) = &options.share {
            let share = escaped(share);
            self.add("-fsdev", &format!("local,id=host,path={share},security_model=none"));
            self.device(machine, "9p", ",fsdev=host,mount_tag=host");
        }
        let forwards: String = options
            .publish
            .iter()
            .map(|ports| format!(",hostfwd=tcp:127.0.0.1:{}-:{}", ports.host, ports.guest))
            .collect();
        match &options.net {
            Net::User => self.add("-netdev", &format!("user,id=net{forwards}")),
            Net::Tap(interface) => {
                self.add("-netdev", &format!("tap,id=net,ifname={interface},script=no,downscript=no"));
            }
            Net::None => return,
        }
        self.device(machine, "net", ",netdev=net");
    }
}

/// The guest's command line.
fn command_line(options: &RunOptions) -> String {
    let isolation = match options.isolation_backend {
        IsolationChoice::Auto => None,
        IsolationChoice::Pku => Some("uio.keys=pku"),
        IsolationChoice::Pks => Some("uio.keys=pks"),
        IsolationChoice::None => Some("uio.keys=none"),
    };
    let parts: Vec<&str> = isolation.into_iter().chain(options.append.as_deref()).collect();
    parts.join(" ")
}

/// QEMU takes a comma inside a value when it is doubled.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Publish;

    fn line(options: &RunOptions) -> String {
        let paths = Paths { directory: "/run/uio/count".into() };
        arguments(options, Path::new("/images/count"), Accel::Tcg, &paths).join(" ")
    }

    #[test]
    fn q35_has_pci_devices() {
        let mut options = RunOptions::new("count");
        options.share = Some("/srv/a,b".into());
        options.publish = vec![Publish { host: 8080, guest: 80 }];
        let line = line(&options);
        for part in [
            "-machine q35 -accel tcg -cpu max -m 256M",
            "-device virtio-serial-pci,disable-legacy=on -device virtserialport,chardev=overlay,nr=1,name=uio.overlay",
            "path=/srv/a,,b,security_model=none",
            "-device virtio-9p-pci,disable-legacy=on,fsdev=host,mount_tag=host",
            "-netdev user,id=net,hostfwd=tcp:127.0.0.1:8080-:80",
            "-device virtio-rng-pci,disable-legacy=on",
            "-device isa-debug-exit,iobase=0xf4,iosize=4",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("-append"));
    }

    #[test]
    fn microvm_has_mmio_devices() {
        let mut options = RunOptions::new("count");
        options.machine = Machine::Microvm;
        options.net = Net::None;
        options.isolation_backend = IsolationChoice::Pks;
        options.append = Some("loglevel=debug".into());
        options.icount = true;
        let line = line(&options);
        assert!(line.contains("-device virtio-serial-device -device virtserialport"));
        assert!(line.contains("virtio-mmio.force-legacy=false"));
        assert!(line.contains("-append uio.keys=pks loglevel=debug"));
        assert!(line.contains("-icount shift=0,sleep=off"));
        assert!(!line.contains("pci") && !line.contains("netdev"));
    }
}
