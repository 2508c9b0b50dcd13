//! Files of the guest: in its memory, and the host's folder at `/host`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use uio_tests::golden::assert_golden;
use uio_tests::guest::{Guest, Home};
use uio_tests::process::{self, LIMIT};

/// Larger than one message, and not a multiple of anything.
const LARGE_BYTES: usize = 300_001;

fn large() -> Vec<u8> {
    (0..LARGE_BYTES).map(|index| (index * 31 + index / 251) as u8).collect()
}

#[test]
fn files_in_memory() {
    let guest = Guest::start(&["--net", "none"]);
    let home = guest.home().path();
    fs::write(home.join("large"), large()).expect("a file");
    let (from, back) = (home.join("large"), home.join("back"));
    let text = guest.say(&[
        &format!("cp host:{} /large", from.display()),
        "cp /large /copy",
        &format!("cp /copy host:{}", back.display()),
    ]);
    assert!(text.lines().count() == 3, "{text}");
    assert_eq!(fs::read(&back).expect("the file comes back"), large());
    let listed = guest.json("ls /");
    for name in ["large", "copy"] {
        let entry = listed.iter().find(|entry| entry["name"] == name).expect("it is listed");
        assert_eq!(
            (entry["kind"].as_str(), entry["size"].as_u64()),
            (Some("file"), Some(LARGE_BYTES as u64))
        );
    }
    fs::write(home.join("small"), "one\ntwo\n").expect("a file");
    let _ = guest.say(&[&format!("cp host:{} /small", home.join("small").display())]);
    assert_eq!(guest.say(&["cat /small /small"]), "one\ntwo\none\ntwo\n");
    assert_eq!(guest.say(&["cat /small | wc -l"]).trim(), "2");

    // An editor that adds a line.
    let editor = home.join("editor.sh");
    fs::write(&editor, "#!/bin/sh\necho three >> \"$1\"\n").expect("a script");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).expect("a program");
    let mut command = guest.attach(&["-e", "edit /small", "-e", "edit /new", "-e", "cat /small /new"]);
    let output = process::run(command.env("EDITOR", &editor).env_remove("VISUAL"), "", LIMIT).good();
    assert!(output.ends_with("one\ntwo\nthree\nthree\n"), "{output}");

    let mut errors = String::new();
    for command in [
        "cat /nosuch",
        "cat /",
        "ls /small",
        "cp /nosuch /x",
        "cp /small /nosuch/x",
        "cp /small /",
        "ls relative/nosuch",
    ] {
        let shown = guest.execute(&[command]);
        errors.push_str(&format!("> {command} ({})\n{}", shown.code.unwrap_or(-1), shown.stdout));
    }
    assert_golden("errors_files", &errors, &[]);
}

#[test]
fn a_shared_folder_is_at_host() {
    for machine in ["q35", "microvm"] {
        let share = Home::new();
        let folder = share.path();
        fs::write(folder.join("note.txt"), "from the host\n").expect("a file");
        fs::write(folder.join("large"), large()).expect("a file");
        fs::create_dir(folder.join("inner")).expect("a folder");
        let guest =
            Guest::start(&["--machine", machine, "--net", "none", "--share", &folder.display().to_string()]);
        assert_eq!(guest.say(&["cat /host/note.txt"]), "from the host\n", "{machine}");
        let listed = guest.json("ls /host");
        let mut names: Vec<&str> = listed.iter().filter_map(|entry| entry["name"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["inner", "large", "note.txt"], "{machine}");
        let _ = guest.say(&["cp /host/large /large", "cp /large /host/inner/back"]);
        assert!(
            fs::read(folder.join("inner/back")).expect("a copy") == large(),
            "{machine}: the copy differs"
        );
        // What changes on the host is seen at once, and the other way round.
        fs::write(folder.join("note.txt"), "changed\n").expect("a file");
        assert_eq!(guest.say(&["cat /host/note.txt"]), "changed\n", "{machine}");
        let shown = guest.execute(&["cat /host/nosuch"]).bad();
        assert!(shown.contains("/host/nosuch"), "{machine}: {shown}");
        let outside = guest.execute(&["cat /host/../../etc/hostname"]);
        assert_eq!(outside.code, Some(1), "{machine}: {outside:#?}");
    }
}

/// An archive as `cpio -o -H newc` writes it (cpio(5), "new ASCII format"), of files and folders with their mode.
pub(crate) fn archive(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, (name, mode, contents)) in entries.iter().chain(&[("TRAILER!!!", 0, &b""[..])]).enumerate() {
        // Magic, inode, mode, owner, group, links, time, size, device, device of a device, length of the name, checksum.
        let (size, name_bytes) = (contents.len() as u32, name.len() as u32 + 1);
        let fields = [index as u32, *mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_bytes, 0];
        bytes.extend_from_slice(b"070701");
        fields.iter().for_each(|field| bytes.extend_from_slice(format!("{field:08x}").as_bytes()));
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(contents);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

#[test]
fn an_initrd_fills_the_guests_files() {
    const FOLDER: u32 = 0o040_755;
    const FILE: u32 = 0o100_644;
    let home = Home::new();
    let path = home.path().join("initrd");
    let large = large();
    let entries = [("etc", FOLDER, &b""[..]), ("etc/motd", FILE, b"welcome\n"), ("large", FILE, &large)];
    fs::write(&path, archive(&entries)).expect("an archive");
    for machine in ["q35", "microvm"] {
        let initrd = path.display().to_string();
        let guest = Guest::start(&["--machine", machine, "--net", "none", "--initrd", &initrd]);
        assert_eq!(guest.say(&["cat /etc/motd"]), "welcome\n", "{machine}");
        let back = home.path().join(machine);
        let _ = guest.say(&[&format!("cp /large host:{}", back.display())]);
        assert!(fs::read(&back).expect("a copy") == large, "{machine}: the copy differs");
    }
}
